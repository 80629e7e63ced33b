/**
 * Sotto in Node: a home folder on disk, TLS sockets, passwords stretched in a worker. `openHome` is where programs begin.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import * as path from "node:path";
import { toHex } from "@sotto/protocol";
import type { Client, ClientEvent, NewAttachment } from "./api.ts";
import { createAttempt } from "./attempt.ts";
import { type ClientOptions, createClient } from "./client.ts";
import { ClientError, storeFailure } from "./errors.ts";
import { nodeCiphers } from "./node/ciphers.ts";
import { nodeFiles } from "./node/files.ts";
import {
  type HomeGuest,
  type HomeServer,
  OwnerGone,
  type RemoteMethod,
  joinHome,
  serveHome,
} from "./node/home-socket.ts";
import { nodeHttps } from "./node/https.ts";
import { createPasswordWorker } from "./node/password-worker.ts";
import { nodeTransport } from "./node/transport.ts";
import type { Clock, Platform, Transport } from "./platform.ts";
import { openHomeStorage } from "./storage/home-storage.ts";
import { type Storage, StorageError } from "./storage/storage.ts";

export { defaultHome } from "./node/default-home.ts";
export { openHomeStorage } from "./storage/home-storage.ts";
export { nodeTransport } from "./node/transport.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

export const systemRandom = { bytes: (count: number) => new Uint8Array(randomBytes(count)) };

export interface HomeOptions extends ClientOptions {
  /** The folder; made, for its owner alone, if it is missing. */
  home: string;
  /** Told what was found unsafe and put right, in words for people. */
  warn?: (message: string) => void;
  /** Another way to the server than TLS from this machine: through a proxy, or a network that a test breaks. */
  transport?: Transport;
}

/** How long to wait for an owner that holds the lock but does not answer yet, or has just died. */
const ownerPatienceMs = 5_000;
const ownerRetryMs = 50;

/**
 * Everything that the engine needs from Node, over any storage. `home`: where sealed attachments are kept while they travel;
 * without one, in memory.
 */
export function nodePlatform(storage: Storage, home?: string): Platform {
  return {
    clock: systemClock,
    random: systemRandom,
    transport: nodeTransport,
    storage,
    password: createPasswordWorker(),
    files: nodeFiles(home),
    https: nodeHttps,
    ciphers: nodeCiphers,
    program: `sotto ${version()}`,
  };
}

/**
 * Opens the account of a home folder, as its owner or through the process that owns it.
 * @throws ClientError `store-…` if it cannot be opened
 */
export async function openHome(options: HomeOptions): Promise<Client> {
  const home = new Home(options);
  await home.open();
  return home;
}

class Home {
  readonly #options: HomeOptions;
  readonly #socketPath: string;
  readonly #listeners = new Set<(event: ClientEvent) => void>();
  #owner: { client: Client; server: HomeServer } | undefined;
  #guest: HomeGuest | undefined;
  #opening: Promise<void> | undefined;
  /** Whether somebody wants a connection kept, so that a new owner takes it over. */
  #wantsConnection = false;
  #closed = false;

  constructor(options: HomeOptions) {
    this.#options = options;
    this.#socketPath = path.join(options.home, "sotto.sock");
  }

  /** Becomes the owner, or a guest of the process that is. */
  open(): Promise<void> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<void> {
    const until = Date.now() + ownerPatienceMs;
    for (;;) {
      try {
        await this.#own();
        return;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (error.code !== "locked") throw storeFailure(`open ${this.#options.home}`, error);
        try {
          this.#guest = await joinHome(this.#socketPath, {
            onEvent: (event) => this.#announce(event),
            onGone: () => {
              this.#guest = undefined;
              // Whoever watches goes on watching: as the new owner, or as its guest.
              if (!this.#closed && this.#wantsConnection)
                void this.open()
                  .then(() => this.#call("sync", { timeoutMs: 10_000 }))
                  .catch(() => {});
            },
          });
          return;
        } catch {
          if (Date.now() >= until) {
            const holder = error.holderPid === undefined ? "another process" : `process ${error.holderPid}`;
            throw new ClientError(
              "store-locked",
              `open ${this.#options.home}: ${holder} holds it and does not answer`,
              {
                cause: error,
                hint: "end that process, or use another folder with --home",
              },
            );
          }
          await new Promise((resolve) => setTimeout(resolve, ownerRetryMs));
        }
      }
    }
  }

  async #own(): Promise<void> {
    await using opened = new AsyncDisposableStack();
    const storage = opened.use(
      await openHomeStorage({ home: this.#options.home, ...(this.#options.warn ? { warn: this.#options.warn } : {}) }),
    );
    const platform = {
      ...nodePlatform(storage, this.#options.home),
      ...(this.#options.transport ? { transport: this.#options.transport } : {}),
    };
    const client = opened.use(await createClient(platform, { deviceName: hostname().slice(0, 64), ...this.#options }));
    client.subscribe((event) => this.#announce(event));
    const server = await serveHome(this.#socketPath, client);
    opened.move();
    this.#owner = { client, server };
  }

  async #call(method: RemoteMethod, argument?: unknown): Promise<never> {
    for (;;) {
      if (this.#closed) throw new ClientError("unexpected", `${method}: the client is closed`);
      if (!this.#owner && !this.#guest) await this.open();
      try {
        if (this.#owner)
          return (await (this.#owner.client[method] as (argument: unknown) => Promise<unknown>).call(
            this.#owner.client,
            argument,
          )) as never;
        return (await this.#guest!.call(method, argument)) as never;
      } catch (error) {
        if (!(error instanceof OwnerGone)) throw error;
        this.#guest = undefined;
      }
    }
  }

  /** A call that sends something, and may have to be made again: the second one is recognised. */
  #attempt(method: RemoteMethod, options: object): Promise<never> {
    return this.#call(method, { ...options, attempt: toHex(createAttempt(systemRandom, systemClock.now())) });
  }

  #announce(event: ClientEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  register = (options: Parameters<Client["register"]>[0]) => this.#call("register", options);
  login = (options: Parameters<Client["login"]>[0]) => this.#call("login", options);
  recover = (options: Parameters<Client["recover"]>[0]) => this.#call("recover", options);
  changePassword = (options: Parameters<Client["changePassword"]>[0]) => this.#call("changePassword", options);
  newRecoveryCode = (options: Parameters<Client["newRecoveryCode"]>[0]) => this.#call("newRecoveryCode", options);
  rotateIdentity = (options: Parameters<Client["rotateIdentity"]>[0]) => this.#call("rotateIdentity", options);
  devices = () => this.#call("devices");
  removeDevice = (options: Parameters<Client["removeDevice"]>[0]) => this.#call("removeDevice", options);
  renameDevice = (options: Parameters<Client["renameDevice"]>[0]) => this.#call("renameDevice", options);
  report = (options: Parameters<Client["report"]>[0]) => this.#call("report", options);
  restore = (options: Parameters<Client["restore"]>[0]) => this.#call("restore", options);
  logout = () => this.#call("logout");
  whoami = () => this.#call("whoami");
  trust = (options: Parameters<Client["trust"]>[0]) => this.#call("trust", options);
  sync = (options: Parameters<Client["sync"]>[0]) => {
    this.#wantsConnection = true;
    return this.#call("sync", options);
  };
  flush = (options: Parameters<Client["flush"]>[0]) => this.#call("flush", options);
  // Files cross to the owner by path, as this process sees them.
  send = ({ attachments, ...options }: Parameters<Client["send"]>[0]) =>
    this.#attempt("send", {
      ...options,
      ...(attachments ? { attachments: attachments.map(withAbsolutePath) } : {}),
    });
  save = ({ id, folder }: Parameters<Client["save"]>[0]) =>
    this.#call("save", { id, folder: path.resolve(folder ?? ".") });
  cancel = (options: Parameters<Client["cancel"]>[0]) => this.#call("cancel", options);
  editMessage = (options: Parameters<Client["editMessage"]>[0]) => this.#attempt("editMessage", options);
  deleteMessage = (options: Parameters<Client["deleteMessage"]>[0]) => this.#attempt("deleteMessage", options);
  react = (options: Parameters<Client["react"]>[0]) => this.#attempt("react", options);
  forward = (options: Parameters<Client["forward"]>[0]) => this.#attempt("forward", options);
  pin = (options: Parameters<Client["pin"]>[0]) => this.#attempt("pin", options);
  waitFor = (options: Parameters<Client["waitFor"]>[0]) => this.#call("waitFor", options);
  inbox = (options: Parameters<Client["inbox"]>[0]) => this.#call("inbox", options);
  markRead = (options: Parameters<Client["markRead"]>[0]) => this.#call("markRead", options);
  history = (options: Parameters<Client["history"]>[0]) => this.#call("history", options);
  search = (options: Parameters<Client["search"]>[0]) => this.#call("search", options);
  notifications = () => this.#call("notifications");
  conversations = () => this.#call("conversations");
  createGroup = (options: Parameters<Client["createGroup"]>[0]) =>
    this.#call("createGroup", { ...options, attempt: toHex(createAttempt(systemRandom, systemClock.now())) });
  addMembers = (options: Parameters<Client["addMembers"]>[0]) => this.#call("addMembers", options);
  removeMembers = (options: Parameters<Client["removeMembers"]>[0]) => this.#call("removeMembers", options);
  leaveGroup = (options: Parameters<Client["leaveGroup"]>[0]) => this.#call("leaveGroup", options);
  setGroupPicture = (options: Parameters<Client["setGroupPicture"]>[0]) => this.#call("setGroupPicture", options);
  setShareHistory = (options: Parameters<Client["setShareHistory"]>[0]) => this.#call("setShareHistory", options);
  groupPicture = (options: Parameters<Client["groupPicture"]>[0]) => this.#call("groupPicture", options);
  renameGroup = (options: Parameters<Client["renameGroup"]>[0]) => this.#call("renameGroup", options);
  setRole = (options: Parameters<Client["setRole"]>[0]) => this.#call("setRole", options);
  setInvites = (options: Parameters<Client["setInvites"]>[0]) => this.#call("setInvites", options);
  members = (options: Parameters<Client["members"]>[0]) => this.#call("members", options);
  status = (options: Parameters<Client["status"]>[0]) => this.#call("status", options);
  setDraft = (options: Parameters<Client["setDraft"]>[0]) => this.#call("setDraft", options);
  getDraft = (options: Parameters<Client["getDraft"]>[0]) => this.#call("getDraft", options);
  schedule = (options: Parameters<Client["schedule"]>[0]) =>
    this.#call("schedule", { ...options, attempt: toHex(createAttempt(systemRandom, systemClock.now())) });
  scheduled = () => this.#call("scheduled");
  cancelScheduled = (options: Parameters<Client["cancelScheduled"]>[0]) => this.#call("cancelScheduled", options);
  setTyping = (options: Parameters<Client["setTyping"]>[0]) => this.#call("setTyping", options);
  verify = (options: Parameters<Client["verify"]>[0]) => this.#call("verify", options);
  getSettings = () => this.#call("getSettings");
  setSettings = (settings: Parameters<Client["setSettings"]>[0]) => this.#call("setSettings", settings);
  getConversationSettings = (options: Parameters<Client["getConversationSettings"]>[0]) =>
    this.#call("getConversationSettings", options);
  setConversationSettings = (options: Parameters<Client["setConversationSettings"]>[0]) =>
    this.#call("setConversationSettings", options);
  requests = () => this.#call("requests");
  answerRequest = (options: Parameters<Client["answerRequest"]>[0]) => this.#call("answerRequest", options);
  block = (options: Parameters<Client["block"]>[0]) => this.#call("block", options);
  unblock = (options: Parameters<Client["unblock"]>[0]) => this.#call("unblock", options);
  blocked = () => this.#call("blocked");
  diagnose = () => this.#call("diagnose");

  subscribe(listener: (event: ClientEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#guest?.close();
    if (this.#owner) {
      await this.#owner.server.close();
      await this.#owner.client.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function withAbsolutePath(attachment: NewAttachment): NewAttachment {
  return typeof attachment.file === "string" ? { ...attachment, file: path.resolve(attachment.file) } : attachment;
}

function version(): string {
  const packageFile = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(packageFile, "utf8")) as { version: string }).version;
}
