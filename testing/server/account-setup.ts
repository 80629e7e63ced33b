/** Changes of an account, made of bare parts like the raw client: another device, another root, a recovery. */
import {
  appendDevice,
  appendRevocation,
  appendRootVault,
  createCertificate,
  createDeviceKeys,
  createKeyPackage,
  devicePublicKeys,
  openRootVault,
  type OpenRootVault,
  recoveryAuthKey,
  rootVaultHash,
  sealRootVault,
  signRecoveryChallenge,
  type Suite,
  verifyChain,
} from "@sotto/e2ee";
import type { ChainState, DeviceId, Params, Result } from "@sotto/protocol";
import { logIn, type Person, random, RawClient, registerPassword } from "./raw-client.ts";

/** A connection that showed the password or the recovery code, and what it received and opened. */
export interface OpenAccount {
  readonly client: RawClient;
  readonly person: Person;
  readonly opened: Result<"finishLogin">;
  readonly chain: ChainState;
  readonly root: OpenRootVault;
  /** Undefined after a recovery. */
  readonly exportKey: Uint8Array | undefined;
}

function chainOf(opened: Result<"finishLogin">): ChainState {
  const verdict = verifyChain(opened.chain);
  if (verdict.kind !== "valid") throw new Error("the chain is not valid");
  return verdict.chain;
}

export async function openByPassword(
  server: { port: number },
  person: Person,
  password = person.password,
): Promise<OpenAccount> {
  const client = await RawClient.connect(server);
  const { finish, exportKey } = await logIn(client, person.name, password);
  const opened = await finish();
  const root = openRootVault({ account: person.account, ...opened.vault, exportKey: exportKey! });
  return { client, person, opened, chain: chainOf(opened), root, exportKey };
}

/** Both halves of a recovery with this code. */
export async function recover(client: RawClient, name: string, code: Uint8Array) {
  const started = await client.request("startRecovery", { name });
  const { deployment } = client.hello;
  const signature = signRecoveryChallenge(recoveryAuthKey(code), { deployment, ...started });
  return { started, finish: () => client.request("finishRecovery", { recovery: started.recovery, signature }) };
}

export async function openByCode(server: { port: number }, person: Person): Promise<OpenAccount> {
  const client = await RawClient.connect(server);
  const opened = await (await recover(client, person.name, person.recoveryCode)).finish();
  const root = openRootVault({ account: person.account, ...opened.vault, recoveryCode: person.recoveryCode });
  return { client, person, opened, chain: chainOf(opened), root, exportKey: undefined };
}

/** Another device of the account, and what adds it; `revoke` makes room. */
export async function prepareDevice(
  { person, chain, root }: Pick<OpenAccount, "person" | "chain" | "root">,
  options: { revoke?: DeviceId; keyPackages?: number; suite?: Suite } = {},
): Promise<{ person: Person; params: Params<"addDevice"> }> {
  const { revoke, suite = 1 } = options;
  const keys = createDeviceKeys(random);
  const { account } = person;
  const nowMs = Date.now();
  const revoked =
    revoke === undefined ? undefined : appendRevocation(chain, root.identitySeed, { device: revoke, nowMs });
  const device = devicePublicKeys(keys);
  const added = appendDevice(revoked?.chain ?? chain, root.identitySeed, { ...device, name: "another", nowMs });
  const certificate = createCertificate(root.identitySeed, { account, ...device });
  const makePackage = (lastResort: boolean) =>
    createKeyPackage({ device: keys, account, certificate, suite, notBeforeMs: nowMs, lastResort });
  const made = await Promise.all(Array.from({ length: options.keyPackages ?? 1 }, () => makePackage(false)));
  const last = await makePackage(true);
  return {
    person: {
      ...person,
      keys,
      certificate,
      chain: added.chain,
      keyPackages: [...made, last].map(({ ref, bytes, privateBytes }) => ({ suite, ref, bytes, privateBytes })),
      bootCounter: 1,
    },
    params: {
      device: keys.device,
      entries: [...(revoked === undefined ? [] : [revoked.entry]), added.entry],
      keyPackages: made.map(({ bytes }) => ({ suite, bytes })),
      lastResorts: [{ suite, bytes: last.bytes }],
      boot: { counter: 1, random: random.bytes(16) },
    },
  };
}

/** Adds a device; the connection is that device from then on. */
export async function addDevice(
  server: { port: number },
  person: Person,
): Promise<{ client: RawClient; person: Person }> {
  const open = await openByPassword(server, person);
  const made = await prepareDevice(open);
  await open.client.request("addDevice", made.params);
  return { client: open.client, person: made.person };
}

/** What replaces the root of an open account: by default its password stays and nobody is revoked. */
export async function prepareRoot(
  open: OpenAccount,
  options: { password?: string; revoke?: readonly DeviceId[] } = {},
): Promise<{ params: Params<"replaceRoot">; chain: ChainState }> {
  const { client, person, root, opened } = open;
  const { account } = person;
  const changed =
    options.password === undefined ? undefined : await registerPassword(client, account, options.password);
  const rootVersion = opened.vault.rootVersion + 1;
  const { recoveryPublicKey: recoveryKey, ...sealed } = sealRootVault({
    ...root,
    random,
    account,
    rootVersion,
    exportKey: changed?.exportKey ?? open.exportKey!,
    registrationRecord: changed?.registration.record ?? opened.record,
  });
  let { chain } = open;
  const entries: Uint8Array[] = [];
  for (const device of options.revoke ?? []) {
    const revoked = appendRevocation(chain, root.identitySeed, { device, nowMs: Date.now() });
    entries.push(revoked.entry);
    chain = revoked.chain;
  }
  const mark = { version: rootVersion, hash: rootVaultHash(sealed.rootVault) };
  const last = appendRootVault(chain, root.identitySeed, mark);
  return {
    params: {
      entries: [...entries, last.entry],
      ...(changed === undefined ? {} : { registration: changed.registration }),
      vault: { ...sealed, recoveryKey },
      shares: [],
    },
    chain: last.chain,
  };
}
