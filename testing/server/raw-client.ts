/**
 * A client made of bare parts for tests of the server: frames over a real TLS WebSocket, OPAQUE with cheap stretching, devices
 * and groups of `@sotto/e2ee`. It checks nothing and hides nothing; whatever a test wants to send, it sends.
 */
import * as opaque from "@serenity-kit/opaque";
import {
  type ChainState,
  createCertificate,
  createChain,
  createDeviceKeys,
  createIdentity,
  createKeyPackage,
  createVaults,
  type DeviceKeys,
  directRoster,
  encodeRoster,
  signDeviceChallenge,
  type Suite,
  verifyChain,
} from "@sotto/e2ee";
import {
  type AccountId,
  createId,
  decodeFrame,
  encodeAck,
  encodeRequest,
  type Failure,
  type MethodName,
  type Params,
  type Random,
  type Result,
  type WholeResult,
  streamPath,
  subprotocol,
  toHex,
} from "@sotto/protocol";
import { createServer, type ConfigInput, type Server, type Surroundings } from "@sotto/server";
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";

export const random: Random = { bytes: (count) => randomFillSync(new Uint8Array(count)) };
/** Stretching for tests: the server takes no part in it. */
const keyStretching = { "argon2id-custom": { memory: 8, iterations: 1, parallelism: 1 } };
const waitMs = 5_000;

/** A server on a folder of its own that goes with it. */
export async function startServer(
  config: Partial<ConfigInput> = {},
  surroundings: Surroundings = {},
): Promise<Server & AsyncDisposable> {
  const data = config.data ?? (await mkdtemp(join(tmpdir(), "sotto-server-")));
  const server = await createServer({ port: 0, ...config, data }, surroundings);
  return {
    ...server,
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      if (config.data === undefined) await rm(data, { recursive: true, force: true });
    },
  };
}

/** A request that the server refused. */
export class Refused extends Error {
  readonly failure: Failure;
  constructor(method: string, failure: Failure) {
    super(`${method}: ${failure.code}`);
    this.failure = failure;
  }
}

export interface ReceivedEvent {
  readonly sequence: number;
  readonly name: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into payloads of every kind
  readonly payload: any;
}

export class RawClient implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly events: ReceivedEvent[] = [];
  hello!: Result<"hello">;
  closeCode: number | undefined;
  closeReason = "";
  #nextId = 1;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #eventArrived = Promise.withResolvers<void>();
  readonly closed: Promise<void>;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("message", (data: Buffer) => this.#receive(new Uint8Array(data)));
    this.closed = new Promise((done) => {
      socket.on("close", (code, reason) => {
        this.closeCode = code;
        this.closeReason = reason.toString();
        for (const { reject } of this.#waiting.values()) reject(new Error(`closed: ${code} ${this.closeReason}`));
        this.#eventArrived.resolve();
        done();
      });
    });
  }

  /** Connects without saying hello. */
  static async open(
    server: { port: number },
    options: { headers?: Record<string, string>; host?: string } = {},
  ): Promise<RawClient> {
    const host = options.host ?? "localhost";
    const socket = new WebSocket(`wss://${host}:${server.port}${streamPath}`, [subprotocol], {
      rejectUnauthorized: false,
      perMessageDeflate: false,
      // `localhost` may be ::1 or 127.0.0.1; the server listens on both.
      ...(options.headers === undefined ? {} : { headers: options.headers }),
    });
    const client = new RawClient(socket);
    await once(socket, "open");
    return client;
  }

  /** Connects and says hello. */
  static async connect(
    server: { port: number },
    options: { headers?: Record<string, string>; host?: string } = {},
  ): Promise<RawClient> {
    const client = await RawClient.open(server, options);
    client.hello = await client.request("hello", { versions: [1], client: "raw" });
    return client;
  }

  /** What has structures of more than 64 KiB is for `ask`. @throws Refused */
  request<Name extends MethodName>(method: Name, params: Params<Name>): Promise<WholeResult<Name>> {
    return this.ask(method, params) as Promise<WholeResult<Name>>;
  }

  /** The same for methods and parameters that do not exist. */
  ask(method: string, params: unknown): Promise<unknown> {
    const id = this.#nextId++;
    const waiting = Promise.withResolvers<unknown>();
    waiting.promise.catch(() => {});
    if (this.closeCode !== undefined) waiting.reject(new Error(`closed: ${this.closeCode} ${this.closeReason}`));
    this.#waiting.set(id, waiting);
    this.socket.send(encodeRequest(id, method, params));
    return waiting.promise;
  }

  ack(sequence: number, conversation: Uint8Array): void {
    this.socket.send(encodeAck(sequence, conversation));
  }

  /** The first event that fits, now or soon. */
  async event(name: string, fits: (event: ReceivedEvent) => boolean = () => true): Promise<ReceivedEvent> {
    const deadline = Date.now() + waitMs;
    for (;;) {
      const found = this.events.find((event) => event.name === name && fits(event));
      if (found !== undefined) return found;
      if (Date.now() > deadline || this.closeCode !== undefined)
        throw new Error(`no event ${name}; got ${this.events.map((event) => event.name).join(", ")}`);
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([this.#eventArrived.promise, new Promise((late) => (timer = setTimeout(late, 100)))]);
      clearTimeout(timer);
    }
  }

  close(): void {
    this.socket.terminate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }

  #receive(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    if (frame.kind === "event") {
      this.events.push(frame);
      this.#eventArrived.resolve();
      this.#eventArrived = Promise.withResolvers();
    } else if (frame.kind === "reply") this.#take(frame.id)?.resolve(frame.result);
    else if (frame.kind === "failure")
      this.#take(frame.id)?.reject(new Refused("request", frame.failure as unknown as Failure));
  }

  #take(id: number): PromiseWithResolvers<unknown> | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }
}

/** The code that a request was refused with; fails if it was not. */
export async function refusal(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof Refused) return error.failure.code;
    throw error;
  }
  return "ok";
}

/** Somebody with an account and one device. */
export interface Person {
  readonly name: string;
  readonly password: string;
  readonly account: AccountId;
  readonly keys: DeviceKeys;
  readonly certificate: Uint8Array;
  readonly chain: ChainState;
  readonly identitySeed: Uint8Array;
  readonly recoveryCode: Uint8Array;
  readonly keyPackages: { suite: Suite; ref: Uint8Array; bytes: Uint8Array; privateBytes: Uint8Array }[];
  bootCounter: number;
}

const toText = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
const toBytes = (text: string) => new Uint8Array(Buffer.from(text, "base64url"));

export interface RegistrationParts {
  readonly person: Person;
  readonly params: Params<"finishRegistration">;
}

/** Everything up to the last request of a registration. */
export async function prepareRegistration(
  client: RawClient,
  name: string,
  options: { password?: string; invite?: Uint8Array; keyPackages?: number; suite?: Suite } = {},
): Promise<RegistrationParts> {
  await opaque.ready;
  const { password = `${name}'s password`, suite = 1 } = options;
  const invite = options.invite === undefined ? {} : { invite: options.invite };
  const account = createId(random);
  const started = opaque.client.startRegistration({ password });
  const offered = await client.request("startRegistration", {
    name,
    account,
    request: toBytes(started.registrationRequest),
    ...invite,
  });
  const { registrationRecord, exportKey } = opaque.client.finishRegistration({
    password,
    clientRegistrationState: started.clientRegistrationState,
    registrationResponse: toText(offered.response),
    identifiers: { client: toHex(account), server: toHex(client.hello.deployment) },
    keyStretching,
  });
  const record = toBytes(registrationRecord);
  const identity = createIdentity(random);
  const keys = createDeviceKeys(random);
  const nowMs = Date.now();
  const recoveryCode = random.bytes(20);
  const vaults = createVaults({
    random,
    account,
    exportKey: toBytes(exportKey),
    registrationRecord: record,
    recoveryCode,
    identitySeed: identity.seed,
  });
  const rootVault = { version: vaults.rootVersion, hash: await sha256(vaults.rootVault) };
  const entries = createChain({ identity, account, name, device: keys, deviceName: "raw", rootVault, nowMs });
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid") throw new Error("the chain is not valid");
  const certificate = createCertificate(identity.seed, {
    account,
    device: keys.device,
    signatureKey: keys.signature.publicKey,
    encryptionKey: keys.encryption.publicKey,
  });
  const made = await Promise.all(
    Array.from({ length: options.keyPackages ?? 3 }, () =>
      createKeyPackage({ device: keys, account, certificate, suite, notBeforeMs: nowMs }),
    ),
  );
  const last = await createKeyPackage({
    device: keys,
    account,
    certificate,
    suite,
    notBeforeMs: nowMs,
    lastResort: true,
  });
  return {
    person: {
      name,
      password,
      account,
      keys,
      certificate,
      chain: verdict.chain,
      identitySeed: identity.seed,
      recoveryCode,
      keyPackages: [...made, last].map(({ ref, bytes, privateBytes }) => ({ suite, ref, bytes, privateBytes })),
      bootCounter: 1,
    },
    params: {
      name,
      account,
      device: keys.device,
      setup: offered.setup,
      stretching: 1,
      record,
      chain: entries,
      vault: {
        rootVersion: vaults.rootVersion,
        wrapPassword: vaults.wrapPassword,
        wrapRecovery: vaults.wrapRecovery,
        rootVault: vaults.rootVault,
        accountVault: vaults.accountVault,
        recoveryKey: vaults.recoveryPublicKey,
        signature: vaults.signature,
      },
      keyPackages: made.map(({ bytes }) => ({ suite, bytes })),
      lastResorts: [{ suite, bytes: last.bytes }],
      boot: { counter: 1, random: random.bytes(16) },
      ...invite,
    },
  };
}

/** Registers; the connection is the new device from then on. */
export async function register(
  client: RawClient,
  name: string,
  options: Parameters<typeof prepareRegistration>[2] = {},
): Promise<Person> {
  const { person, params } = await prepareRegistration(client, name, options);
  await client.request("finishRegistration", params);
  return person;
}

/** What `authenticate` takes from this device on this connection. */
export function proofOf(client: RawClient, person: Person): Params<"authenticate"> {
  const { deployment, challenge } = client.hello;
  return {
    account: person.account,
    device: person.keys.device,
    signature: signDeviceChallenge(person.keys, { deployment, challenge }),
    boot: { counter: ++person.bootCounter, random: random.bytes(16) },
  };
}

export async function authenticate(server: { port: number }, person: Person): Promise<RawClient> {
  const client = await RawClient.connect(server);
  await client.request("authenticate", proofOf(client, person));
  return client;
}

/** Both halves of a login with this password, as a client sends them that does not check it first. */
export async function logIn(
  client: RawClient,
  name: string,
  password: string,
): Promise<{
  started: Result<"startLogin">;
  finish: () => Promise<Result<"finishLogin">>;
  /** Undefined if the password is wrong. */
  exportKey: Uint8Array | undefined;
}> {
  await opaque.ready;
  const { clientLoginState, startLoginRequest } = opaque.client.startLogin({ password });
  const started = await client.request("startLogin", { name, request: toBytes(startLoginRequest) });
  const finished = opaque.client.finishLogin({
    password,
    clientLoginState,
    loginResponse: toText(started.response),
    identifiers: { client: toHex(started.account), server: toHex(client.hello.deployment) },
    keyStretching,
  });
  const finish = finished === undefined ? random.bytes(64) : toBytes(finished.finishLoginRequest);
  return {
    started,
    finish: () => client.request("finishLogin", { login: started.login, finish }),
    exportKey: finished && toBytes(finished.exportKey),
  };
}

/** The OPAQUE record of a new password, as `replaceRoot` takes it. The connection has shown the old one, or the code. */
export async function registerPassword(
  client: RawClient,
  account: AccountId,
  password: string,
): Promise<{ registration: { setup: Uint8Array; stretching: number; record: Uint8Array }; exportKey: Uint8Array }> {
  await opaque.ready;
  const started = opaque.client.startRegistration({ password });
  const { response, setup } = await client.request("startPasswordChange", {
    request: toBytes(started.registrationRequest),
  });
  const { registrationRecord, exportKey } = opaque.client.finishRegistration({
    password,
    clientRegistrationState: started.clientRegistrationState,
    registrationResponse: toText(response),
    identifiers: { client: toHex(account), server: toHex(client.hello.deployment) },
    keyStretching,
  });
  return { registration: { setup, stretching: 1, record: toBytes(registrationRecord) }, exportKey: toBytes(exportKey) };
}

export function rosterOf(a: Person, b: Person): Uint8Array {
  return encodeRoster(directRoster(a.account, b.account));
}

export function directoryOf(...people: Person[]) {
  return { chain: (account: AccountId) => people.find((person) => toHex(person.account) === toHex(account))?.chain };
}

async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.slice()));
}
