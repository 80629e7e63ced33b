/**
 * Making an account and coming back to it. The password leaves this module only into OPAQUE; identity key, export key and
 * recovery secret are forgotten when it returns. Registration is saved before it is sent, so a crash in between neither loses
 * the account nor the recovery code.
 */
import {
  createCertificate,
  createChain,
  createDeviceKeys,
  createIdentity,
  createRecoveryCode,
  createVaults,
  decodeDeviceKeys,
  encodeChainState,
  devicePublicKeys,
  encodeDeviceKeys,
  rootVaultHash,
  signDeviceChallenge,
  verifyChain,
} from "@sotto/e2ee";
import { ProtocolError, type Result, createId, sameBytes, toHex } from "@sotto/protocol";
import type { Registered } from "./api.ts";
import { type Session, openSession } from "./connection/session.ts";
import { plainName } from "./contacts.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { createKeyPackages, keyPackageTargets, putKeyPackage, toPublish } from "./key-packages.ts";
import type { Address, Platform } from "./platform.ts";
import { type AccountRecord, type BootRecord, emptyVault, encodeRecord, keys } from "./records.ts";
import { type ServerPin, checkServer, pinServer } from "./server-pin.ts";
import type { State } from "./state.ts";

export interface RegisterOptions {
  platform: Platform;
  state: State;
  boot: BootRecord;
  address: Address;
  name: string;
  password: string;
  stretching: number;
  /** What the account's devices call this one. */
  deviceName: string;
  invite?: Uint8Array;
  fingerprint?: string;
}

/** @throws ClientError */
export async function register(options: RegisterOptions): Promise<{ registered: Registered; pin: ServerPin }> {
  const { platform, state, boot, address, password } = options;
  const name = plainName(options.name);
  const { checkPassword } = await import("./password-strength.ts");
  checkPassword(password, name);
  const session = await openSession(platform, address, { onEvent: () => {}, onClose: () => {} });
  try {
    const pin = pinServer(address, session, options.fingerprint);
    const account = createId(platform.random);
    const invite = options.invite ? { invite: options.invite } : {};

    const started = await platform.password.startRegistration(password);
    const offered = await session.request("startRegistration", { name, account, request: started.request, ...invite });
    const { record, exportKey } = await platform.password.finishRegistration({
      password,
      state: started.state,
      response: offered.response,
      client: toHex(account),
      server: toHex(pin.deployment),
      stretching: options.stretching,
    });

    const identity = createIdentity(platform.random);
    const device = createDeviceKeys(platform.random);
    const recovery = createRecoveryCode(platform.random);
    const vaults = createVaults({
      random: platform.random,
      account,
      exportKey,
      recoveryCode: recovery.secret,
      identitySeed: identity.seed,
      registrationRecord: record,
    });
    const chain = createChain({
      identity,
      account,
      name,
      device,
      // The chain is read by the server and by everybody one writes to: what a device is called is none of their business.
      deviceName: "",
      rootVault: { version: vaults.rootVersion, hash: rootVaultHash(vaults.rootVault) },
      nowMs: platform.clock.now(),
    });
    const verified = verifyChain(chain);
    if (verified.kind !== "valid")
      throw new ClientError("unexpected", "register: the new account's chain is not valid");
    const certificate = createCertificate(identity.seed, { account, ...devicePublicKeys(device) });
    const own: AccountRecord = {
      status: "registering",
      account,
      name,
      device: device.device,
      deviceKeys: encodeDeviceKeys(device),
      certificate,
      amks: [{ version: vaults.amk.version, key: vaults.amk.key.reveal() }],
      chain: encodeChainState(verified.chain),
      recoveryCode: recovery.text,
      inbox: 0,
    };
    const keyPackages = await prepareDevice({ platform, state, own, pin, deviceName: options.deviceName });

    try {
      await session.request("finishRegistration", {
        name,
        account,
        device: device.device,
        setup: offered.setup,
        stretching: options.stretching,
        record,
        chain,
        vault: {
          rootVersion: vaults.rootVersion,
          wrapPassword: vaults.wrapPassword,
          wrapRecovery: vaults.wrapRecovery,
          rootVault: vaults.rootVault,
          accountVault: vaults.accountVault,
          recoveryKey: vaults.recoveryPublicKey,
          signature: vaults.signature,
        },
        ...keyPackages,
        boot,
        ...invite,
      });
    } catch (error) {
      // A definite no: nothing of this account exists. Without an answer it may, and `register` again finds out.
      if (error instanceof ProtocolError) await forget(state);
      throw error;
    }
    await state.transact((transaction) => transaction.putAccount({ ...own, status: "active" }));
    return { registered: registeredFrom(own), pin };
  } catch (error) {
    throw refusedBy(`create the account ${name}`, error);
  } finally {
    session.close();
  }
}

export function registeredFrom(own: AccountRecord): Registered {
  return {
    account: toHex(own.account),
    user: `@${own.name}`,
    device: toHex(own.device),
    recoveryCode: own.recoveryCode ?? "",
  };
}

/**
 * Writes down a device with its first key packages before the server is asked for it: a crash in between loses neither the device nor
 * what it is called, and who finds it asks the server what became of it. Resolves with what to publish.
 */
export async function prepareDevice(options: {
  platform: Platform;
  state: State;
  own: AccountRecord;
  pin: ServerPin;
  deviceName: string;
}): Promise<ReturnType<typeof toPublish>> {
  const { platform, state, own, pin, deviceName } = options;
  const packages = await createKeyPackages(
    own,
    platform,
    keyPackageTargets.map(({ suite, target }) => ({ suite, count: target, lastResort: true })),
  );
  const devices = { [toHex(own.device)]: { name: deviceName, at: platform.clock.now() } };
  await state.transact((transaction) => {
    transaction.putAccount(own);
    transaction.putVault({ ...emptyVault, devices });
    transaction.put(keys.server, encodeRecord(pin));
    for (const made of packages) putKeyPackage(transaction, made);
  });
  return toPublish(packages);
}

/** Throws away an account that the server never took, and what had been taken in for it: the folder is as it was. */
export async function forget(state: State): Promise<void> {
  await state.transact(async (transaction) => {
    // The run goes on: a copy of this folder is still one.
    const boot = await transaction.get(keys.boot);
    transaction.clear();
    if (boot) transaction.put(keys.boot, boot);
  });
}

/** Proves a password to the server with both halves of OPAQUE. @throws ClientError `wrong-password` */
export async function provePassword(
  session: Session,
  options: { platform: Platform; pin: ServerPin; name: string; password: string; account?: Uint8Array },
): Promise<{ opened: Result<"finishLogin">; exportKey: Uint8Array }> {
  const { platform, pin, name, password } = options;
  const wrong = () => new ClientError("wrong-password", "the name or the password is not right");
  const started = await platform.password.startLogin(password);
  const offered = await session.request("startLogin", { name, request: started.request });
  if (options.account && !sameBytes(offered.account, options.account)) throw wrong();
  const finished = await platform.password.finishLogin({
    password,
    state: started.state,
    response: offered.response,
    client: toHex(offered.account),
    server: toHex(pin.deployment),
    stretching: offered.stretching,
  });
  if (!finished) {
    // The server must hear of it all the same: it counts failures, and an answer that never comes is one.
    await session.request("finishLogin", { login: offered.login, finish: new Uint8Array(64) }).catch(() => {});
    throw wrong();
  }
  const opened = await session.request("finishLogin", { login: offered.login, finish: finished.finish });
  return { opened, exportKey: finished.exportKey };
}

/** Proves the password and with it brings the device back, on a connection that is closed again. @throws ClientError */
export async function logIn(options: {
  platform: Platform;
  own: AccountRecord;
  pin: ServerPin;
  boot: BootRecord;
  password: string;
}): Promise<void> {
  const { platform, own, pin, boot, password } = options;
  const session = await openSession(platform, pin, { onEvent: () => {}, onClose: () => {} });
  try {
    checkServer(pin, session);
    await provePassword(session, { platform, pin, name: own.name, password, account: own.account });
    await authenticate(session, own, boot);
  } catch (error) {
    throw refusedBy(`log in as ${own.name}`, error);
  } finally {
    session.close();
  }
}

/** Shows the server which device this is. */
export function authenticate(session: Session, own: AccountRecord, boot: BootRecord) {
  const { deployment, challenge } = session.hello;
  const signature = signDeviceChallenge(decodeDeviceKeys(own.deviceKeys), { deployment, challenge });
  return session.request("authenticate", { account: own.account, device: own.device, signature, boot });
}
