/**
 * What a group costs a client, by its number of devices: `npm run bench:groups`. No server and no network: one device's CPU for
 * making the group, adding one more, renewing keys, coming in alone, and one message each way, with every check that the
 * client makes. The marks stand beside the rows that have one.
 */
import {
  activeDevices,
  confirmCommit,
  createCertificate,
  createChain,
  createDeviceKeys,
  createGroup,
  createIdentity,
  createKeyPackage,
  type DeviceKeys,
  devicePublicKeys,
  type Directory,
  encodeEpochRecord,
  encodeRatchetRecord,
  encodeRoster,
  encrypt,
  type Group,
  groupInfo,
  joinByExternalCommit,
  joinGroup,
  processMessage,
  type Roster,
  stageCommit,
  type Suite,
  verifyChain,
} from "@sotto/e2ee";
import { createId, toHex } from "@sotto/protocol";
import { printTable } from "./harness/figure-list.ts";
import { median } from "./harness/statistics.ts";

const sizes = (process.env["SIZES"] ?? "2,10,50,200").split(",").map(Number);
const suites = (process.env["SUITES"] ?? "83,1").split(",").map(Number) as Suite[];
const repeats = Number(process.env["REPEATS"] ?? 5);
/** Milliseconds of one device's CPU for a commit, by devices (issue: groups). */
const commitAskedMs = new Map([
  [50, 300],
  [200, 1_500],
]);
const random = { bytes: (count: number) => crypto.getRandomValues(new Uint8Array(count)) };
const nowMs = Date.now();

interface Person {
  readonly account: Uint8Array;
  readonly device: DeviceKeys;
  readonly certificate: Uint8Array;
}

const chains = new Map<string, ReturnType<Directory["chain"]>>();
const directory: Directory = {
  chain: (account) => chains.get(toHex(account)),
  current: (account) => chains.has(toHex(account)),
};
const table: string[][] = [["", ...sizes.map((size) => `${size} devices`)]];
const people = Array.from({ length: Math.max(...sizes) + 2 }, (_, i) => makePerson(`person${i}`));
for (const suite of suites) await measure(suite);
printTable("groups", `A group: milliseconds of one device's CPU, medians of ${repeats}; KiB where it says so`, table);

async function measure(suite: Suite): Promise<void> {
  const name = suite === 83 ? "X-Wing" : "X25519";
  const measured: Map<string, string>[] = [];
  for (const size of sizes) measured.push(await measureSize(suite, size));
  for (const what of measured[0]!.keys())
    table.push([`${name}: ${what}`, ...measured.map((column) => column.get(what)!)]);
}

async function measureSize(suite: Suite, size: number): Promise<Map<string, string>> {
  const column = new Map<string, string>();
  const members = people.slice(0, size);
  const newcomer = people[size]!;
  /** A member without a device in the group. */
  const visitor = people[size + 1]!;
  const conversation = createId(random);
  const [first, ...others] = members as [Person, ...Person[]];
  const alone = rosterOf([first], 1);
  const created = await createGroup({
    conversation,
    generation: 0,
    suite,
    account: first.account,
    device: first.device,
    certificate: first.certificate,
    directory,
    nowMs,
    random,
    roster: encodeRoster(alone),
  });
  const packages = await Promise.all(others.map((person) => packageOf(person, suite)));
  const add = packages.map(({ bytes }) => bytes);
  const roster = rosterOf([...members, visitor], 2);
  const opening = await timed(1, () => stageCommit(created, { add, directory, roster: encodeRoster(roster), nowMs }));
  column.set("create with all", opening.ms);
  const mine = confirmCommit(opening.result.group, opening.result.staged.id);
  const { welcome } = opening.result.staged;
  const joining = await timed(1, () => join(packages[0]!, others[0]!, welcome!, conversation));
  column.set("join by Welcome", joining.ms);
  const theirs = joining.result;

  const newcomerPackage = await packageOf(newcomer, suite);
  const wider = encodeRoster(rosterOf([...members, visitor, newcomer], 3));
  const intent = { add: [newcomerPackage.bytes], directory, roster: wider, nowMs };
  const adding = await timed(repeats, () => stageCommit(mine, intent));
  column.set("add one: make", adding.ms + asked(size));
  const added = adding.result.staged;
  const takingAdd = await timed(repeats, () => take(theirs, added.commit));
  column.set("add one: take", takingAdd.ms + asked(size));

  const updating = await timed(repeats, () => stageCommit(mine, { update: true, nowMs }));
  column.set("renew keys: make", updating.ms + asked(size));
  const updated = updating.result.staged;
  const taking = await timed(repeats, () => take(theirs, updated.commit));
  column.set("renew keys: take", taking.ms + asked(size));

  const info = await groupInfo(mine);
  const entering = await timed(repeats, () =>
    joinByExternalCommit({
      groupInfo: info,
      ...visitor,
      directory,
      expected: { conversation },
      roster: encodeRoster(roster),
      nowMs,
    }),
  );
  if (entering.result.kind !== "staged") throw new Error(JSON.stringify(entering.result));
  const entered = entering.result.staged;
  column.set("come in alone: make", entering.ms + asked(size));
  const takingEntry = await timed(repeats, () => take(theirs, entered.commit));
  column.set("come in alone: take", takingEntry.ms + asked(size));

  let group = mine;
  const text = random.bytes(200);
  const encrypting = await timed(50, async () => {
    const made = await encrypt(group, text, directory);
    group = made.group;
    return made.message;
  });
  column.set("encrypt", encrypting.ms);
  let reader = theirs;
  const messages: Uint8Array[] = [];
  for (let i = 0; i < 50; i++) {
    const made = await encrypt(group, text, directory);
    group = made.group;
    messages.push(made.message);
  }
  const decrypting = await timed(50, async (i) => {
    const read = await processMessage(reader, messages[i]!, { directory, nowMs });
    if (read.kind !== "message") throw new Error(`${size} devices: ${JSON.stringify(read)}`);
    reader = read.group;
  });
  column.set("decrypt", decrypting.ms);
  column.set("KiB: GroupInfo", kib(info));
  column.set("KiB: Welcome for all", kib(welcome!));
  column.set("KiB: commit that adds one", kib(added.commit));
  column.set("KiB: commit that renews keys", kib(updated.commit));
  column.set("KiB: epoch record", kib(encodeEpochRecord(mine)));
  column.set("KiB: ratchet record", kib(encodeRatchetRecord(mine)));
  return column;
}

async function take(group: Group, commit: Uint8Array): Promise<void> {
  const taken = await processMessage(group, commit, { directory, nowMs });
  if (taken.kind !== "commit") throw new Error(JSON.stringify(taken));
}

function asked(size: number): string {
  const mark = commitAskedMs.get(size);
  return mark === undefined ? "" : ` (≤ ${mark})`;
}

function kib(bytes: Uint8Array): string {
  return (bytes.length / 1024).toFixed(1);
}

/** CPU time of this process, which does nothing else; the median of some runs, and what the last one made. */
async function timed<T>(runs: number, work: (run: number) => Promise<T>): Promise<{ ms: string; result: T }> {
  const spentMs: number[] = [];
  let result: T | undefined;
  for (let run = 0; run < runs; run++) {
    const before = process.cpuUsage();
    result = await work(run);
    const { user, system } = process.cpuUsage(before);
    spentMs.push((user + system) / 1000);
  }
  const ms = median(spentMs);
  return { ms: ms >= 10 ? ms.toFixed(0) : ms.toPrecision(2), result: result as T };
}

async function join(
  keyPackage: Awaited<ReturnType<typeof packageOf>>,
  person: Person,
  welcome: Uint8Array,
  conversation: Uint8Array,
): Promise<Group> {
  const joined = await joinGroup({ welcome, keyPackage, expected: { conversation }, device: person.device, directory });
  if (joined.kind !== "joined") throw new Error(JSON.stringify(joined));
  return joined.group;
}

function packageOf(person: Person, suite: Suite) {
  return createKeyPackage({ ...person, suite, notBeforeMs: nowMs, lastResort: false });
}

function rosterOf(members: readonly Person[], version: number): Roster {
  const roles = members.map(({ account }, i) => ({
    account,
    role: i === 0 ? ("admin" as const) : ("member" as const),
  }));
  return { version, invites: "members", members: roles };
}

function makePerson(name: string): Person {
  const account = createId(random);
  const identity = createIdentity(random);
  const device = createDeviceKeys(random);
  const rootVault = { version: 1, hash: random.bytes(32) };
  const entries = createChain({ identity, account, name, device, deviceName: "d", rootVault, nowMs: 1 });
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid" || activeDevices(verdict.chain).length !== 1) throw new Error("the chain is not valid");
  chains.set(toHex(account), verdict.chain);
  const certificate = createCertificate(identity.seed, { account, ...devicePublicKeys(device) });
  return { account, device, certificate };
}
