/**
 * The devices of an account, and what takes the password or the recovery code: a new device, removing one, a new password, a new
 * code, recovery. Identity key and root key exist only while one of these runs. Each is one change on the server, decided by
 * compare-and-set, so two devices that try at once cannot both win, and a cut-off one has either happened or not.
 */
import {
  type AccountMasterKey,
  type ChainState,
  type OpenRootVault,
  activeDevices,
  appendDevice,
  appendRevocation,
  appendRootVault,
  appendRotation,
  createCertificate,
  createDeviceKeys,
  createIdentity,
  createMasterKey,
  createRecoveryCode,
  devicePublicKeys,
  encodeChainState,
  encodeDeviceKeys,
  identityFromSeed,
  keyFromRecoveryCode,
  openRootVault,
  parseRecoveryCode,
  recoveryAuthKey,
  rootVaultHash,
  sealMasterKey,
  sealRootVault,
  signRecoveryChallenge,
  verifyChain,
} from "@sotto/e2ee";
import { ProtocolError, type Result, encodeCbor, sameBytes, toHex } from "@sotto/protocol";
import { forget, prepareDevice, provePassword } from "./account.ts";
import { type StoredVault, openVault } from "./account-vault.ts";
import { type Session, openSession } from "./connection/session.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Address, Platform } from "./platform.ts";
import type { AccountRecord, BootRecord } from "./records.ts";
import { type ServerPin, checkServer, pinServer } from "./server-pin.ts";
import type { State } from "./state.ts";

/** An account opened on a connection by its password or its recovery code, for as long as one change takes. */
export interface OpenedAccount {
  readonly session: Session;
  readonly pin: ServerPin;
  readonly account: Uint8Array;
  readonly name: string;
  readonly chain: ChainState;
  readonly root: OpenRootVault;
  readonly rootVersion: number;
  readonly accountVault: StoredVault;
  /** What OPAQUE gave for the password; absent after a recovery. */
  readonly exportKey?: Uint8Array;
}

interface Opening {
  platform: Platform;
  name: string;
  /** Where the server is, or the one that is pinned. */
  server: Address | ServerPin;
  fingerprint?: string;
}

/** Proves the password on a new connection and opens the root vault with it. The caller closes the session. @throws ClientError */
export async function openWithPassword(
  options: Opening & { password: string; stretching?: number },
): Promise<OpenedAccount> {
  const { platform, name, password } = options;
  return attempt(`log in as ${name}`, options, async (session, pin) => {
    const { opened, exportKey } = await provePassword(session, { platform, pin, name, password });
    return open(session, pin, name, opened, { exportKey });
  });
}

/** The secret behind a recovery code as a person typed it. @throws ClientError `recovery-code-typo` */
export function readRecoveryCode(code: string): Uint8Array {
  const parsed = parseRecoveryCode(code);
  if (parsed.kind === "ok") return parsed.secret;
  throw new ClientError("recovery-code-typo", "that is no recovery code: something is mistyped in it");
}

/** Proves the recovery code instead. @throws ClientError `recovery-code-typo` before anything is sent */
export async function openWithRecoveryCode(options: Opening & { code: string }): Promise<OpenedAccount> {
  const { name } = options;
  const secret = readRecoveryCode(options.code);
  return attempt(`recover ${name}`, options, async (session, pin) => {
    const offered = await session.request("startRecovery", { name });
    const signature = signRecoveryChallenge(recoveryAuthKey(secret), {
      deployment: pin.deployment,
      account: offered.account,
      challenge: offered.challenge,
    });
    const opened = await session
      .request("finishRecovery", { recovery: offered.recovery, signature })
      .catch((error: unknown) => {
        if (error instanceof ProtocolError && error.code === "wrong-password") {
          throw new ClientError("wrong-recovery-code", "the name or the recovery code is not right", { cause: error });
        }
        throw error;
      });
    return open(session, pin, name, opened, { recoveryCode: secret });
  });
}

async function attempt(
  attempted: string,
  options: Opening,
  work: (session: Session, pin: ServerPin) => Promise<OpenedAccount>,
): Promise<OpenedAccount> {
  const { platform, server, fingerprint } = options;
  const session = await openSession(platform, server, { onEvent: () => {}, onClose: () => {} });
  try {
    let pin: ServerPin;
    if ("deployment" in server) {
      const checked = checkServer(server, session);
      pin = checked === "same" ? server : checked.rotated;
    } else pin = pinServer(server, session, fingerprint);
    return await work(session, pin);
  } catch (error) {
    session.close();
    throw refusedBy(attempted, error);
  }
}

/** Checks everything that the server released against what the password or the code proves. */
async function open(
  session: Session,
  pin: ServerPin,
  name: string,
  opened: Result<"finishLogin">,
  by: { exportKey: Uint8Array } | { recoveryCode: Uint8Array },
): Promise<OpenedAccount> {
  const { account, vault } = opened;
  const rejected = (why: string) => new ClientError("vault-rejected", `the server's record of this account ${why}`);
  const entries = [...opened.chain];
  for (let { more } = opened; more;) {
    const reply = await session.request("getChains", { accounts: [{ account, from: entries.length }] });
    const page = reply.chains[0];
    entries.push(...(page?.entries ?? []));
    more = page !== undefined && page.more && page.entries.length > 0;
  }
  const verified = verifyChain(entries);
  if (verified.kind !== "valid") throw rejected("is not a chain that its identity key signed");
  const { chain } = verified;
  if (!sameBytes(chain.account, account) || chain.name !== name) throw rejected("is another account's");
  const isCurrent =
    chain.rootVault.version === vault.rootVersion && sameBytes(chain.rootVault.hash, rootVaultHash(vault.rootVault));
  if (!isCurrent) throw rejected("does not go with its vault: one of them is old");
  const sealed = { account, rootVersion: vault.rootVersion, rootVault: vault.rootVault };
  let root: OpenRootVault;
  try {
    root =
      "exportKey" in by
        ? openRootVault({ ...sealed, wrapPassword: vault.wrapPassword, exportKey: by.exportKey })
        : openRootVault({ ...sealed, wrapRecovery: vault.wrapRecovery, recoveryCode: by.recoveryCode });
  } catch (cause) {
    throw new ClientError("vault-rejected", "the account's vault does not open with what opened the account", {
      cause,
    });
  }
  // The vault is the password's own word for who the account is; the chain is only the server's copy.
  if (!sameBytes(identityFromSeed(root.identitySeed).publicKey, chain.identityKey))
    throw rejected("names another identity");
  return {
    session,
    pin,
    account,
    name,
    chain,
    root,
    rootVersion: vault.rootVersion,
    accountVault: opened.accountVault,
    ...("exportKey" in by ? { exportKey: by.exportKey } : {}),
  };
}

/**
 * Makes this home a device of the account. Saved as `adding` before it is sent, and left so: the caller makes it active when what
 * the account vault says is on disk too. Who finds `adding` later asks the server what became of it.
 */
export async function addThisDevice(options: {
  platform: Platform;
  state: State;
  boot: BootRecord;
  opened: OpenedAccount;
  /** What the account's devices call this one. */
  deviceName: string;
}): Promise<AccountRecord> {
  const { platform, state, boot, opened, deviceName } = options;
  const { root, session } = opened;
  const nowMs = platform.clock.now();
  const device = createDeviceKeys(platform.random);
  const { chain } = opened;
  // Devices are named in the account vault, where neither the server nor anybody else reads it.
  const added = appendDevice(chain, root.identitySeed, { ...devicePublicKeys(device), name: "", nowMs });
  const own: AccountRecord = {
    status: "adding",
    account: opened.account,
    name: opened.name,
    device: device.device,
    deviceKeys: encodeDeviceKeys(device),
    certificate: createCertificate(root.identitySeed, { account: opened.account, ...devicePublicKeys(device) }),
    amks: root.amks.map(({ version, key }) => ({ version, key: key.reveal() })),
    chain: encodeChainState(added.chain),
    inbox: 0,
  };
  // Read now, so that an account whose data does not open gets no half-made device.
  openVault(own, opened.accountVault, chain);
  const keyPackages = await prepareDevice({ platform, state, own, pin: opened.pin, deviceName });
  try {
    await session.request("addDevice", { device: device.device, entries: [added.entry], ...keyPackages, boot });
  } catch (error) {
    if (error instanceof ProtocolError) {
      await forget(state);
      if (error.code === "device-limit") {
        const { devices } = openVault(own, opened.accountVault, opened.chain);
        const named = activeDevices(opened.chain).map(({ device }) => {
          const id = toHex(device);
          const name = devices[id]?.name;
          return name ? `${id.slice(0, 8)} (${name})` : id.slice(0, 8);
        });
        throw new ClientError(
          "device-limit",
          `add this device: the account has as many as it may: ${named.join(", ")}`,
          {
            cause: error,
            hint: "take the place of one with --replace ID, or remove one on another device",
          },
        );
      }
    }
    throw refusedBy("add this device", error);
  }
  return own;
}

/** What is to change at the root; what is absent stays. */
export interface RootChange {
  /** The password from now on, which may be the old one: OPAQUE registers it anew, since the root vault is bound to that. */
  password: string;
  stretching: number;
  /** The device that does this; absent in a recovery. */
  device?: Uint8Array;
  /** Devices to remove: the master key is renewed for those that stay. */
  revoke?: readonly Uint8Array[];
  newRecoveryCode?: boolean;
  /** Another identity key, which the old one names: the safety number with everybody becomes another one. */
  rotateIdentity?: boolean;
  /** The account vault's next version, sealed under the newest master key; needed when that is renewed. */
  accountVault?: (amk: AccountMasterKey) => { version: number; bytes: Uint8Array; signature: Uint8Array };
}

export interface RootChanged {
  chain: ChainState;
  amks: AccountMasterKey[];
  /** Shown once. */
  recoveryCode?: string;
}

/**
 * Changes the root of an opened account in one transaction of the server: OPAQUE record, wraps, root vault, chain, revocations and
 * the new master key for each device that stays.
 * @throws ClientError `conflict` when another device was faster: nothing was changed
 */
export async function changeRoot(platform: Platform, opened: OpenedAccount, change: RootChange): Promise<RootChanged> {
  const { session, root, account } = opened;
  const nowMs = platform.clock.now();
  const rootVersion = opened.rootVersion + 1;
  const entries: Uint8Array[] = [];
  let { chain } = opened;
  for (const device of change.revoke ?? []) {
    const revoked = appendRevocation(chain, root.identitySeed, { device, nowMs });
    entries.push(revoked.entry);
    chain = revoked.chain;
  }
  let { identitySeed } = root;
  if (change.rotateIdentity) {
    const identity = createIdentity(platform.random);
    const rotated = appendRotation(chain, identitySeed, { identity, nowMs });
    entries.push(rotated.entry);
    ({ chain } = rotated);
    identitySeed = identity.seed;
  }
  const amks = [...root.amks];
  // Whoever got at the identity key got at the master keys beside it.
  const isRenewed = (change.revoke?.length ?? 0) > 0 || change.rotateIdentity === true;
  if (isRenewed) amks.push(createMasterKey(platform.random, amks.at(-1)!.version + 1));

  let { kekRecovery, recoveryPublicKey } = root;
  let recoveryCode: string | undefined;
  if (change.newRecoveryCode) {
    const made = createRecoveryCode(platform.random);
    recoveryCode = made.text;
    kekRecovery = keyFromRecoveryCode(made.secret);
    recoveryPublicKey = recoveryAuthKey(made.secret).publicKey;
  }
  const { exportKey, ...registration } = await registerPassword(platform, opened, change);
  const bundle = sealRootVault({
    random: platform.random,
    account,
    rootVersion,
    exportKey,
    registrationRecord: registration.record,
    identitySeed,
    kekRecovery,
    recoveryPublicKey,
    amks,
  });
  const last = appendRootVault(chain, identitySeed, {
    version: rootVersion,
    hash: rootVaultHash(bundle.rootVault),
  });
  entries.push(last.entry);
  const shares = isRenewed ? await sharesFor(last.chain, identitySeed, account, amks.at(-1)!) : [];
  const accountVault = isRenewed ? change.accountVault?.(amks.at(-1)!) : undefined;
  const { recoveryPublicKey: recoveryKey, ...sealed } = bundle;
  await session.request("replaceRoot", {
    entries,
    ...(change.device ? { device: change.device } : {}),
    registration,
    vault: { ...sealed, recoveryKey },
    ...(accountVault ? { accountVault } : {}),
    shares,
  });
  return { chain: last.chain, amks, ...(recoveryCode === undefined ? {} : { recoveryCode }) };
}

async function registerPassword(
  platform: Platform,
  opened: OpenedAccount,
  change: { password: string; stretching: number },
) {
  const { session, pin, account } = opened;
  const { password, stretching } = change;
  const started = await platform.password.startRegistration(password);
  const { response, setup } = await session.request("startPasswordChange", { request: started.request });
  const { record, exportKey } = await platform.password.finishRegistration({
    password,
    state: started.state,
    response,
    client: toHex(account),
    server: toHex(pin.deployment),
    stretching,
  });
  return { setup, stretching, record, exportKey };
}

/** The new master key for each device that stays, sealed to the key that the chain names for it. */
async function sharesFor(chain: ChainState, identitySeed: Uint8Array, account: Uint8Array, amk: AccountMasterKey) {
  const shares: { device: Uint8Array; bytes: Uint8Array }[] = [];
  for (const device of activeDevices(chain)) {
    const sealed = await sealMasterKey({ account, device, amk, identitySeed });
    shares.push({ device: device.device, bytes: encodeCbor([amk.version, sealed]) });
  }
  return shares;
}
