/**
 * Bugs that must not survive: each breaks one promise in one place, and names the tests that have to notice. Before a bug is called
 * caught, the same tests have passed without it (planted.test.ts). A text that is not found any more means that the code has
 * moved on, and so must the bug.
 */
export interface PlantedBug {
  /** What it does wrong. */
  readonly bug: string;
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly plant: string;
  /** Words in the paths of the test files that have to catch it (testing/run.ts). */
  readonly caughtBy: readonly string[];
}

const server = "packages/server/src";
const client = "packages/client/src";
const e2ee = "packages/e2ee/src";

export const plantedBugs: readonly PlantedBug[] = [
  {
    bug: "the server acknowledges before the commit",
    file: `${server}/store/sqlite/group-commit.ts`,
    find: "for (at = 0; at < batch.length; at++) results[at] = batch[at]!.run();",
    plant: "for (at = 0; at < batch.length; at++) batch[at]!.resolve((results[at] = batch[at]!.run()));",
    caughtBy: ["sqlite/sqlite-failures"],
  },
  {
    bug: "the store does not wait for the disk",
    file: `${server}/store/sqlite/database.ts`,
    find: '["synchronous", "FULL", 2],',
    plant: '["synchronous", "NORMAL", 1],',
    caughtBy: ["sqlite/database.test"],
  },
  {
    bug: "the store writes on behind what a failed sync has left",
    file: `${server}/store/sqlite/database.ts`,
    find: "    writeLogAgain(`${path}-wal`);\n",
    plant: "",
    caughtBy: ["crash/power-cut"],
  },
  {
    bug: "a client's store writes on behind what a failed sync has left",
    file: `${client}/storage/sqlite.ts`,
    find: "    writeLogAgain(`${file}-wal`);\n",
    plant: "",
    caughtBy: ["crash/power-cut"],
  },
  {
    bug: "a message of any epoch is taken",
    file: `${server}/store/sqlite/log.ts`,
    find: "if (!open) return repeated(submission, state) ?? stale(state);",
    plant: "void open;",
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "a commit of a past epoch moves the conversation",
    file: `${server}/store/sqlite/log.ts`,
    find: "if (commit.epoch !== state.epoch || commit.generation !== state.generation) return stale(state);",
    plant: "",
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "messages of the epoch before a removal are still taken",
    file: `${server}/store/sqlite/conversations.ts`,
    find: "const minSendEpoch = change.closesPrevious ? epoch : state.minSendEpoch;",
    plant: "const minSendEpoch = state.minSendEpoch;",
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "a message that is sent again is a second one",
    file: `${server}/store/sqlite/log.ts`,
    find: "const submission = submissionKey(message.device, message.submission);",
    plant: "const submission = crypto.getRandomValues(new Uint8Array(32));",
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "a key package is handed out twice",
    file: `${server}/store/sqlite/accounts.ts`,
    find: "else sql.deletePackage.run(row.number);",
    plant: "",
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "an invite is good for ever",
    file: `${server}/store/sqlite/accounts.ts`,
    find: '"UPDATE invites SET uses_left = uses_left - 1 WHERE token = ?"',
    plant: '"UPDATE invites SET uses_left = uses_left WHERE token = ?"',
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "a copied store of a device is not noticed",
    file: `${server}/store/sqlite/accounts.ts`,
    find: 'sameBytes(random, row.boot_random) ? "recorded" : "copied";',
    plant: 'sameBytes(random, row.boot_random) ? "recorded" : "recorded";',
    caughtBy: ["sqlite/sqlite-store"],
  },
  {
    bug: "pages of any origin may connect",
    file: `${server}/gateway/http.ts`,
    find: 'if (origin !== undefined && !origins.has(origin.toLowerCase())) return turnAway("origin", "403 Forbidden");',
    plant: "",
    caughtBy: ["testing/server/limits"],
  },
  {
    bug: "a removed device keeps its session",
    file: `${server}/methods/replaceRoot.ts`,
    find: "    cutOff(services, revoked);\n",
    plant: "",
    caughtBy: ["testing/server/devices"],
  },
  {
    bug: "any password is right",
    file: `${server}/accounts/opaque.ts`,
    find: "        return true;\n      } catch {\n        return false;\n",
    plant: "        return true;\n      } catch {\n        return true;\n",
    caughtBy: ["testing/server/passwords"],
  },
  {
    bug: "every credential is believed",
    file: `${e2ee}/group-engine.ts`,
    find: 'return verdict !== "invalid";',
    plant: "return true;",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "an external commit may throw others out",
    file: "packages/protocol/src/commit-guard.ts",
    find: 'if (sender.kind === "external" && removed.some(({ account }) => !sameBytes(account, sender.account)))',
    plant: "if (false as boolean)",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "a member makes itself an admin",
    file: "packages/protocol/src/commit-guard.ts",
    find: 'if (!mayChangeRoster(roster, named, committer.account)) return lacksRight("roster change");',
    plant: "void mayChangeRoster;",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "a group encrypts while its commit is under way",
    file: `${e2ee}/group.ts`,
    find: '  if (group.staged !== undefined) throw new E2eeError("commit-staged");\n  requireTrustedLeaves(group, directory);\n',
    plant: "  requireTrustedLeaves(group, directory);\n",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "messages go out while a removed device still listens",
    file: `${e2ee}/group.ts`,
    find: "  requireTrustedLeaves(group, directory);\n",
    plant: "",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "an old description of a group is joined",
    file: `${e2ee}/group-join.ts`,
    find: 'if (info.epoch < knownEpoch) return rejected("older than known");',
    plant: "void knownEpoch;",
    caughtBy: ["e2ee/src/group.test"],
  },
  {
    bug: "safety numbers leave out the other side's key",
    file: `${e2ee}/safety-number.ts`,
    find: "let hash = joinBytes(version, identityKey, account);\n  for (let i = 0; i < iterations; i++) hash = sha512(joinBytes(hash, identityKey));",
    plant:
      "let hash = joinBytes(version, account);\n  for (let i = 0; i < iterations; i++) hash = sha512(joinBytes(hash, account));\n  void identityKey;",
    caughtBy: ["e2ee/src/vault.test"],
  },
  {
    bug: "a message leaves before its moved-on ratchet is on disk",
    file: `${client}/outbox.ts`,
    find: "      transaction.putGroup(conversation, encrypted.group);\n",
    plant: "",
    caughtBy: ["testing/crash/client-kill"],
  },
  {
    bug: "the same content is shown twice",
    file: `${client}/timeline.ts`,
    find: "if (known || isHidden(transaction, received.id)) return false;",
    plant: "if (isHidden(transaction, received.id)) return false;",
    caughtBy: ["client/src/timeline.test"],
  },
  {
    bug: "another key of the server is taken for the pinned one",
    file: `${client}/server-pin.ts`,
    find: "const sameKey = seen.tlsKey === undefined || sameBytes(pin.tlsKey, seen.tlsKey);",
    plant: "const sameKey = seen.tlsKey === undefined || pin.tlsKey.length === seen.tlsKey.length;",
    caughtBy: ["client/src/server-pin.test"],
  },
  {
    bug: "the server may exchange a chunk of the archive",
    file: `${client}/archive-reading.ts`,
    find: 'if (next.previous && !sameBytes(hash, next.previous)) return "was exchanged";',
    plant: "",
    caughtBy: ["client/src/archive-reading"],
  },
  {
    bug: "account data that no device wrote is taken",
    file: `${client}/account-vault.ts`,
    find: "    if (!genuine)\n",
    plant: "    if (!genuine && (false as boolean))\n",
    caughtBy: ["engine/new-device-lied-to"],
  },
  {
    bug: "values of the local store may change places",
    file: `${client}/storage/seal.ts`,
    find: "return encoder.encode(`sotto store ${formatByte} ${key}`);",
    plant: "return encoder.encode(`sotto store ${formatByte} ${key.length}`);",
    caughtBy: ["storage/seal.test"],
  },
  {
    bug: "control characters of others reach the terminal",
    file: "packages/cli/src/printable.ts",
    find: "    .replace(control, pictureOf)\n",
    plant: "",
    caughtBy: ["cli/src/printable.test"],
  },
  {
    bug: "frames are read in more than one spelling",
    file: "packages/protocol/src/private-message.ts",
    find: "if ((size === 2 && length < 0x40) || (size === 4 && length < 0x4000)) return -1;",
    plant: "",
    caughtBy: ["protocol/src/private-message.test"],
  },
  {
    bug: "a report is taken without its proof",
    file: `${server}/methods/reportMessage.ts`,
    find: 'if (proof === undefined || !proves(proof, device.signatureKey)) throw new ProtocolError("proof-invalid");',
    plant: 'if (proof === undefined) throw new ProtocolError("proof-invalid");',
    caughtBy: ["testing/server/reports"],
  },
];
