/**
 * The server's half of OPAQUE (RFC 9807): it can check a password that it never sees, nor anything it could replay. The setup
 * (OPRF seed and key pair) stands in a file of its own beside the store: a stolen store alone allows no guessing, and a lost
 * setup locks everybody out, so it is never made anew where accounts may depend on the old one.
 *
 * Identifiers (docs/encryption.md#password): client = account id, server = deployment key, both in hexadecimal. Unknown names
 * get an account id made from the name and a record that does not exist; the answers look the same.
 */
import { createHash, createHmac } from "node:crypto";
import { type AccountId, fromHex, idBytes, ProtocolError, type Random, toHex } from "@sotto/protocol";
import { readSecretFile, writeSecretFile } from "../data-folder.ts";
import { ServerError } from "../server-error.ts";
import type { Store } from "../store/store.ts";

const setupFile = "opaque.setup";
const setupSetting = "opaque-setup";
/** Length of an OPAQUE registration record as this suite has it. */
export const opaqueRecordBytes = 192;

export interface OpaqueServer {
  /** Names the setup in every record made under it. */
  readonly setup: Uint8Array;
  /** The answer to the first half of a registration. @throws ProtocolError `malformed` */
  respondToRegistration(account: AccountId, request: Uint8Array): Promise<Uint8Array>;
  /** The answer to the first half of a login, and what the second half needs. @throws ProtocolError `malformed` */
  startLogin(
    account: AccountId,
    record: Uint8Array | undefined,
    request: Uint8Array,
  ): Promise<{ response: Uint8Array; state: string }>;
  /** Whether the client knew the password. */
  finishLogin(account: AccountId, state: string, finish: Uint8Array): Promise<boolean>;
  /** The account id that an unknown name is given, always the same. */
  ghostAccount(name: string): AccountId;
}

interface OpaqueOptions {
  readonly folder: string;
  readonly store: Store;
  readonly random: Random;
  readonly deployment: Uint8Array;
}

// 400 KiB of WebAssembly that a server needs only when somebody registers or logs in with a password.
const loadOpaque = async () => {
  const opaque = await import("@serenity-kit/opaque");
  await opaque.ready;
  return opaque.server;
};

/** @throws ServerError `data-corrupt` if the setup is lost or damaged */
export async function openOpaque({ folder, store, random, deployment }: OpaqueOptions): Promise<OpaqueServer> {
  const { id: setup, setup: serverSetup } = await loadOrMakeSetup(folder, store, random);
  const server = toHex(deployment);
  const ghostKey = createHash("sha256").update("sotto ghost accounts v1").update(serverSetup).digest();
  const identifiersOf = (account: AccountId) => ({ client: toHex(account), server });

  return {
    setup,
    async respondToRegistration(account, request) {
      const opaque = await loadOpaque();
      return fromText(
        orMalformed(() =>
          opaque.createRegistrationResponse({
            serverSetup,
            userIdentifier: toHex(account),
            registrationRequest: toText(request),
          }),
        ).registrationResponse,
      );
    },
    async startLogin(account, record, request) {
      const opaque = await loadOpaque();
      const { loginResponse, serverLoginState } = orMalformed(() =>
        opaque.startLogin({
          serverSetup,
          userIdentifier: toHex(account),
          registrationRecord: record === undefined ? null : toText(record),
          startLoginRequest: toText(request),
          identifiers: identifiersOf(account),
        }),
      );
      return { response: fromText(loginResponse), state: serverLoginState };
    },
    async finishLogin(account, state, finish) {
      const opaque = await loadOpaque();
      try {
        opaque.finishLogin({
          serverLoginState: state,
          finishLoginRequest: toText(finish),
          identifiers: identifiersOf(account),
        });
        return true;
      } catch {
        return false;
      }
    },
    ghostAccount: (name) => new Uint8Array(createHmac("sha256", ghostKey).update(name).digest().subarray(0, idBytes)),
  };
}

async function loadOrMakeSetup(
  folder: string,
  store: Store,
  random: Random,
): Promise<{ id: Uint8Array; setup: string }> {
  const known = await store.getSetting(setupSetting);
  const file = readSecretFile(folder, setupFile);
  if (file === undefined) {
    if (known !== undefined) throw lost(folder, "is missing");
    const made = { id: random.bytes(idBytes), setup: (await loadOpaque()).createSetup() };
    writeSecretFile(folder, setupFile, `${JSON.stringify({ id: toHex(made.id), setup: made.setup })}\n`);
    await store.putSetting(setupSetting, made.id);
    return made;
  }
  const setup = parseSetup(Buffer.from(file).toString());
  if (setup === undefined) throw lost(folder, "is damaged");
  if (known === undefined) await store.putSetting(setupSetting, setup.id);
  else if (toHex(known) !== toHex(setup.id)) throw lost(folder, "belongs to another store");
  return setup;
}

function parseSetup(text: string): { id: Uint8Array; setup: string } | undefined {
  try {
    const { id, setup } = JSON.parse(text) as { id?: unknown; setup?: unknown };
    const idOfSetup = typeof id === "string" ? fromHex(id) : undefined;
    // 128 bytes in base64url
    return idOfSetup?.length === idBytes && typeof setup === "string" && /^[\w-]{171}$/.test(setup)
      ? { id: idOfSetup, setup }
      : undefined;
  } catch {
    return undefined;
  }
}

function lost(folder: string, what: string): ServerError {
  return new ServerError(
    "data-corrupt",
    `${folder}/${setupFile} ${what}; restore it from a backup: without it no password of this server can be checked`,
  );
}

function orMalformed<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw new ProtocolError("malformed", { cause });
  }
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
}

function fromText(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64url"));
}
