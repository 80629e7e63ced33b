/**
 * Attachments as people use them: sealed once, before the message is saved, into a file beside the store; uploaded by the outbox
 * before the message leaves; downloaded, checked and opened when somebody saves them. A crash never seals a second content
 * under a key, sends the sealed bytes that are there, and leaves nothing half under a name that a person chose. A text that is
 * longer than a message travels as an attachment too, and is fetched by itself.
 */
import {
  type ArchivedMessage,
  type AttachedFile,
  type ContentBody,
  E2eeError,
  createAttachmentKey,
  decodeContent,
  openAttachment,
  sealAttachment,
} from "@sotto/e2ee";
import { ProtocolError, fromHex, limits, toHex } from "@sotto/protocol";
import type { ClientEvent, Message, NewAttachment, SavedFile } from "./api.ts";
import { rowOfArchiveEntry } from "./archive-entry.ts";
import { filesOf } from "./blob-uses.ts";
import { Blobs, type BlobsOptions } from "./blobs.ts";
import { ClientError, refusedBy } from "./errors.ts";
import { safeFileName } from "./file-names.ts";
import type { Lookup } from "./lookup.ts";
import { mediaTypeOf } from "./media-types.ts";
import type { FileSource, SealedFile } from "./platform.ts";
import { type AttemptRecord, type MessageRow, type OutboxItem, decodeRecord, keys } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import type { Timeline } from "./timeline.ts";

/** Of a longer text, this much stands in the message itself. */
const beginningCharacters = 1_000;
/** Caption and thumbnails together, so that a message with ten long names still fits an envelope, and one that is sent again. */
const besidesFilesBytesMax = 44 * 1024;
const longTextName = "text.txt";
/** A download that nobody went on with for so long is begun anew. */
const partialLifeMs = 7 * 24 * 60 * 60_000;
/** A call whose answer was lost is made again at once, or never. */
const attemptLifeMs = 24 * 60 * 60_000;
/** How often a transfer that is cut is taken up again by a call that waits for it, and after which pause. */
const attemptsMax = 5;
const pauseMs = 1_000;
const progressEveryMs = 100;

export interface AttachmentsOptions extends BlobsOptions {
  state: State;
  timeline: Timeline;
  lookup: Lookup;
  emit: (event: ClientEvent) => void;
  /** Resolves when there is a session; rejects, saying what was attempted, when there is none. */
  connected: (attempted: string) => Promise<void>;
}

/** What a message will say, and the sealed files that have to reach the server before it. */
export interface Prepared {
  readonly body: Extract<ContentBody, { kind: "text" | "attachments" }>;
  readonly files?: NonNullable<OutboxItem["files"]>;
  readonly longText?: string;
}

/** Whose message it is does not matter for its files. */
const nowhere = new Uint8Array(16);
const outgoing = (blob: Uint8Array) => `out-${toHex(blob)}`;
const incoming = (blob: Uint8Array) => `in-${toHex(blob)}`;

export class Attachments {
  readonly #options: AttachmentsOptions;
  readonly #blobs: Blobs;
  /** Ends what is moved for a message, by its id. */
  readonly #cancels = new Map<string, AbortController>();
  /** Downloads under way, by blob: a second wish for one waits for the first. */
  readonly #downloads = new Map<string, Promise<unknown>>();
  /** Files that are being sealed, or whose message is about to be saved. */
  readonly #preparing = new Set<string>();
  #settling: Promise<void> | undefined;
  #isUnsettled = false;
  readonly #closing = new AbortController();

  constructor(options: AttachmentsOptions) {
    this.#options = options;
    this.#blobs = new Blobs(options);
  }

  /** Seals the files, and a text that is too long for a message. @throws ClientError `file-…`, `text-too-large` */
  async prepare(text: string, attachments: readonly NewAttachment[]): Promise<Prepared> {
    const bytes = new TextEncoder().encode(text);
    const isLong = bytes.length > (attachments.length > 0 ? besidesFilesBytesMax : limits.textBytesMax);
    if (bytes.length > limits.longTextBytesMax) {
      throw new ClientError(
        "text-too-large",
        `send: the text has ${bytes.length} bytes, more than ${limits.longTextBytesMax}`,
      );
    }
    const count = attachments.length + (isLong ? 1 : 0);
    if (count === 0) return { body: { kind: "text", text } };
    if (count > limits.attachmentsPerMessageMax) {
      throw new ClientError(
        "invalid-argument",
        `send: ${count} attachments are more than the ${limits.attachmentsPerMessageMax} of one message`,
        { hint: "send several messages" },
      );
    }
    const files: AttachedFile[] = [];
    try {
      for (const attachment of attachments) files.push(await this.#attach(attachment));
      if (isLong) {
        const about = { name: longTextName, type: "text/plain; charset=utf-8" };
        files.push({ ...about, longText: true, ...(await this.#seal(sourceOf(bytes, longTextName))) });
      }
    } catch (error) {
      await this.discard(files);
      throw error;
    }
    const shown = isLong ? beginningOf(text) : text;
    return {
      body: { kind: "attachments", text: shown, files: withThumbnails(files, besidesFilesBytesMax - utf8Bytes(shown)) },
      files: files.map(({ blob, name, hash, sealedSize }) => ({ blob, name, hash, sealedSize })),
      ...(isLong ? { longText: text } : {}),
    };
  }

  /** The message that was prepared is saved, and what has to be done with its files is in the outbox. */
  saved({ files = [] }: Prepared): void {
    for (const { blob } of files) this.#preparing.delete(outgoing(blob));
  }

  /** Nobody will send these. */
  async discard(files: readonly { blob: Uint8Array }[]): Promise<void> {
    for (const { blob } of files) {
      await this.#options.platform.files.sealed.remove(outgoing(blob));
      this.#preparing.delete(outgoing(blob));
    }
  }

  /** Brings the files of an item to the server. @throws ProtocolError, ClientError `unreachable`, `cancelled` */
  async upload(item: OutboxItem, message: string): Promise<void> {
    const place = { conversation: toHex(item.conversation), message };
    await this.#cancellable(message, async (signal) => {
      for (const { blob, name, hash, sealedSize } of item.files ?? []) {
        await using file = await this.#sealed(outgoing(blob));
        if (file.size !== sealedSize) throw new ClientError("file-unreadable", `send ${name}: its sealed copy is gone`);
        const onProgress = this.#progress({ ...place, direction: "up", name, of: sealedSize });
        await this.#blobs.upload({ blob, size: sealedSize, hash, file, onProgress, signal });
      }
    });
  }

  /** Saves what a message brought. Nothing has its name before all of it was checked. @throws ClientError */
  async save({ id, folder }: { id: string; folder?: string }): Promise<SavedFile[]> {
    const { row, message } = await this.#options.lookup.message(id);
    const all = filesOf(row);
    const files = all.some(({ longText }) => !longText) ? all.filter(({ longText }) => !longText) : all;
    if (files.length === 0) throw new ClientError("no-attachment", `save ${id}: the message has no attachment`);
    const saved: SavedFile[] = [];
    await this.#cancellable(message.id, async (signal) => {
      for (const file of files) saved.push(await this.#saveOne(message, file, folder, signal));
    });
    return saved;
  }

  /** Stops what is moved for a message. False if nothing is. */
  cancel(message: string): boolean {
    const controller = this.#cancels.get(message);
    controller?.abort();
    return controller !== undefined;
  }

  /** The account keeps what these messages name, before it archives them. */
  async keepOf(messages: readonly ArchivedMessage[]): Promise<void> {
    const blobs = messages.flatMap((message) =>
      filesOf(rowOfArchiveEntry(message, nowhere).row).map(({ blob }) => blob),
    );
    // What is gone by then was deleted for everyone.
    if (blobs.length > 0) await this.#blobs.keep(blobs);
  }

  /** What a message says, to be said in another: the same blobs, kept. @throws ClientError `attachment-gone`, `unreachable` */
  async again(message: Message, row: MessageRow): Promise<Pick<Prepared, "body" | "longText">> {
    const content = decodeContent(row.content);
    // Words that were put in the place of a long text are short.
    const isWhole = message.edited === undefined;
    const all = content.kind === "attachments" ? content.files : [];
    const files = isWhole ? all : all.filter(({ longText }) => !longText);
    if (files.length === 0) return { body: { kind: "text", text: message.text } };
    await this.#options.connected("forward the attachment");
    const missing = await this.#blobs.keep(files.map(({ blob }) => blob)).catch((error: unknown) => {
      throw refusedBy("forward the attachment", error);
    });
    const gone = files.find(({ blob }) => missing.has(toHex(blob)));
    if (gone) throw goneError("forward", gone.name);
    const text = isWhole && content.kind === "attachments" ? content.text : message.text;
    return {
      body: { kind: "attachments", text, files },
      ...(isWhole && row.longText !== undefined ? { longText: row.longText } : {}),
    };
  }

  /** Fetches long texts and lets go of what nobody names any more. Rejects with what is tried again the next time. */
  settle(): Promise<void> {
    this.#isUnsettled = true;
    this.#settling ??= (async () => {
      while (this.#isUnsettled) {
        this.#isUnsettled = false;
        await this.#settle();
      }
    })().finally(() => {
      this.#settling = undefined;
    });
    return this.#settling;
  }

  settleSoon(): void {
    void this.settle().catch(() => {
      // The next connection, or the next message, brings it up again.
    });
  }

  /** Removes what a crash has left beside the store. Call it before anything is sealed. */
  async tidy(): Promise<void> {
    const { state, platform } = this.#options;
    const { sealed } = platform.files;
    const wanted = new Set(
      [...state.outbox.values()].flatMap(({ files = [] }) => files.map(({ blob }) => outgoing(blob))),
    );
    for (const { name, touchedAt } of await sealed.list()) {
      const isStray = name.startsWith("out-") && !wanted.has(name) && !this.#preparing.has(name);
      const isOld = name.startsWith("in-") && touchedAt < platform.clock.now() - partialLifeMs;
      if (isStray || isOld) await sealed.remove(name);
    }
    const old = (await state.readPrefix(keys.attempt(""))).filter(
      ({ value }) => decodeRecord<AttemptRecord>(value).sentAt < platform.clock.now() - attemptLifeMs,
    );
    if (old.length > 0) await state.transact((transaction) => old.forEach(({ key }) => transaction.delete(key)));
  }

  close(): void {
    this.#closing.abort();
    for (const cancel of this.#cancels.values()) cancel.abort();
  }

  // Inside

  async #attach(attachment: NewAttachment): Promise<AttachedFile> {
    const source = await this.#options.platform.files.open(attachment.file);
    try {
      const { width, height, durationMs, voice, thumbnail } = attachment;
      const name = (attachment.name ?? source.name).slice(0, 255);
      const type = attachment.type ?? mediaTypeOf(name);
      if (source.size > limits.attachmentBytesMax) {
        throw new ClientError(
          "file-too-large",
          `attach ${name}: it has ${source.size} bytes, more than ${limits.attachmentBytesMax}`,
        );
      }
      const picture = thumbnail && { type: thumbnail.type, bytes: Uint8Array.fromBase64(thumbnail.base64) };
      if (picture && picture.bytes.length > limits.thumbnailBytesMax) {
        throw new ClientError("invalid-argument", `attach ${name}: its thumbnail has more than 8 KiB`);
      }
      return {
        name,
        type,
        ...(await this.#seal(source)),
        ...(width === undefined ? {} : { width }),
        ...(height === undefined ? {} : { height }),
        ...(durationMs === undefined ? {} : { durationMs }),
        ...(voice === true ? { voice } : {}),
        ...(picture ? { thumbnail: picture } : {}),
      };
    } finally {
      await source.close();
    }
  }

  /** The sealed bytes are on the disk when it resolves; the key was never used before and is not used again. */
  async #seal({
    name,
    size,
    read,
  }: FileSource): Promise<Pick<AttachedFile, "size" | "blob" | "key" | "hash" | "sealedSize">> {
    const { random, ciphers } = this.#options.platform;
    const blob = random.bytes(16);
    this.#preparing.add(outgoing(blob));
    try {
      await using file = await this.#sealed(outgoing(blob));
      const write = (bytes: Uint8Array) => file.append(bytes);
      const sealed = await sealAttachment({ key: createAttachmentKey(random), size, read, write, ciphers });
      await file.sync();
      return { blob, ...sealed };
    } catch (error) {
      await this.discard([{ blob }]);
      if (error instanceof E2eeError && error.code === "size-changed")
        throw new ClientError("file-unreadable", `attach ${name}: it changed while it was read`, { cause: error });
      throw error;
    }
  }

  async #saveOne(
    { id: message, conversation, from }: Message,
    file: AttachedFile,
    folder: string | undefined,
    signal: AbortSignal,
  ): Promise<SavedFile> {
    const name = safeFileName(file.name);
    const { size, type } = file;
    const onProgress = this.#progress({ direction: "down", conversation, message, name, of: file.sealedSize });
    const { files } = this.#options.platform;
    // A folder that cannot be written is told before anything is fetched.
    let target = await files.create(folder, name);
    let isUntouched = true;
    const begin = async () => {
      if (!isUntouched) {
        await target.abandon();
        target = await files.create(folder, name);
      }
      isUntouched = false;
    };
    try {
      await this.#open({ file, from, onProgress, signal }, { begin, write: (bytes) => target.write(bytes) });
      return { name, size, type, ...(await target.finish()) };
    } catch (error) {
      await target.abandon();
      throw error;
    }
  }

  /** Brings a file here and opens it. What was written counts for nothing unless this resolves; `begin` comes before each time. */
  async #open(
    wanted: { file: AttachedFile; from: string; onProgress: (bytes: number) => void; signal: AbortSignal },
    into: { begin(): Promise<void>; write(bytes: Uint8Array): Promise<void> },
  ): Promise<void> {
    const { file, from } = wanted;
    const key = toHex(file.blob);
    const before = this.#downloads.get(key);
    const opening = (async () => {
      await before?.catch(() => {});
      // What is on its way out is here.
      const isOwn = [...this.#options.state.outbox.values()].some(({ files = [] }) =>
        files.some(({ blob }) => toHex(blob) === key),
      );
      for (let isRepeated = false; ; isRepeated = true) {
        const name = isOwn ? outgoing(file.blob) : incoming(file.blob);
        const wasBegun = isOwn || (await this.#bring(name, wanted));
        try {
          await using sealed = await this.#sealed(name);
          await into.begin();
          const { read } = sealed;
          const { ciphers } = this.#options.platform;
          await openAttachment({ ...file, read: read.bind(sealed), write: into.write, ciphers });
        } catch (error) {
          if (!(error instanceof E2eeError)) throw error;
          await this.#options.platform.files.sealed.remove(name);
          // A crash may have spoilt what was brought before it.
          if (wasBegun && !isOwn && !isRepeated) continue;
          throw new ClientError(
            "attachment-rejected",
            `save ${safeFileName(file.name)}: what the server delivered is not what ${from} sent; nothing was saved`,
            { cause: error },
          );
        }
        if (!isOwn) await this.#options.platform.files.sealed.remove(name);
        return;
      }
    })();
    this.#downloads.set(key, opening);
    try {
      await opening;
    } finally {
      if (this.#downloads.get(key) === opening) this.#downloads.delete(key);
    }
  }

  /** Downloads what is lacking, and takes a transfer that was cut up again. Whether some of it was there before. */
  async #bring(
    name: string,
    { file, onProgress, signal }: { file: AttachedFile; onProgress: (bytes: number) => void; signal: AbortSignal },
  ): Promise<boolean> {
    const { connected } = this.#options;
    await using sealed = await this.#sealed(name);
    const wasBegun = sealed.size > 0;
    for (let attempt = 1; ; attempt++) {
      const size = sealed.size;
      try {
        if (size < file.sealedSize) await connected(`save ${safeFileName(file.name)}`);
        await this.#blobs.download({ blob: file.blob, size: file.sealedSize, file: sealed, onProgress, signal });
        return wasBegun;
      } catch (error) {
        if (signal.aborted) throw error;
        if (error instanceof ProtocolError && error.code === "not-found") throw goneError("save", file.name, error);
        const failure = refusedBy(`save ${safeFileName(file.name)}`, error);
        if (sealed.size > size) attempt = 0;
        if (failure.kind !== "unreachable" || attempt >= attemptsMax) throw failure;
        await this.#pause(signal);
      }
    }
  }

  async #settle(): Promise<void> {
    const { state } = this.#options;
    const dropped = (await state.readPrefix(keys.blobToDrop(""))).map(({ key }) => key);
    const blobs = dropped.map((key) => fromHex(key.slice(keys.blobToDrop("").length))!);
    if (blobs.length > 0) {
      await this.#blobs.drop(blobs);
      await state.transact((transaction) => dropped.forEach((key) => transaction.delete(key)));
    }
    for (const { key } of await state.readPrefix(keys.textToFetch(""))) {
      if (this.#closing.signal.aborted) return;
      await this.#fetchText(key.slice(keys.textToFetch("").length));
    }
  }

  async #fetchText(id: string): Promise<void> {
    const { state, timeline } = this.#options;
    const [found] = await state.findContent(id, 1);
    const row = found && (await state.row(found.conversation, found.place));
    const file = row?.kind === "message" ? filesOf(row).find(({ longText }) => longText) : undefined;
    const forget = (transaction: Transaction) => transaction.delete(keys.textToFetch(id));
    if (!file || file.size > limits.longTextBytesMax) return state.transact(forget);
    let bytes: Uint8Array[] = [];
    const wanted = { file, from: "its author", onProgress: () => {}, signal: this.#closing.signal };
    try {
      await this.#open(wanted, {
        begin: async () => void (bytes = []),
        write: async (some) => void bytes.push(some.slice()),
      });
    } catch (error) {
      const failure = refusedBy("fetch a long text", error);
      if (failure.code !== "attachment-gone" && failure.code !== "attachment-rejected") throw failure;
      // Its beginning is all there will be; the file can be asked for again by hand.
      return state.transact(forget);
    }
    const longText = new TextDecoder().decode(await new Blob(bytes.map((some) => new Uint8Array(some))).arrayBuffer());
    await state.transact(async (transaction) => {
      forget(transaction);
      const at = await transaction.place(fromHex(id)!);
      const now = at && (await transaction.row(at.conversation, at.place));
      const conversation = at && transaction.conversation(at.conversation);
      if (!at || !conversation || now?.kind !== "message") return;
      const whole: MessageRow = { ...now, longText };
      transaction.putRow(at.conversation, at.place, whole);
      transaction.emit({ type: "changed", ...timeline.toMessage(conversation, at.place, whole) });
    });
  }

  async #cancellable(message: string, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const controller = new AbortController();
    this.#cancels.set(message, controller);
    try {
      if (this.#closing.signal.aborted) controller.abort();
      await run(controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) throw error;
      if (this.#closing.signal.aborted) throw new ClientError("unreachable", "the client was closed", { cause: error });
      throw new ClientError("cancelled", "cancelled", { cause: error });
    } finally {
      if (this.#cancels.get(message) === controller) this.#cancels.delete(message);
    }
  }

  /** Tells at most every tenth of a second, and at the end. */
  #progress(
    transfer: Pick<
      Extract<ClientEvent, { type: "transfer" }>,
      "direction" | "conversation" | "message" | "name" | "of"
    >,
  ) {
    const { platform, emit } = this.#options;
    let toldAt = Number.NEGATIVE_INFINITY;
    return (bytes: number) => {
      const now = platform.clock.now();
      if (bytes < transfer.of && now - toldAt < progressEveryMs) return;
      toldAt = now;
      emit({ type: "transfer", ...transfer, bytes });
    };
  }

  async #sealed(name: string): Promise<SealedFile & AsyncDisposable> {
    const file = await this.#options.platform.files.sealed.open(name);
    return Object.assign(file, { [Symbol.asyncDispose]: () => file.close() });
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = this.#options.platform.clock.after(pauseMs, resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    stop();
  }
}

/** With as many thumbnails, from the first file on, as there is room for. */
function withThumbnails(files: readonly AttachedFile[], bytesMax: number): AttachedFile[] {
  let left = bytesMax;
  return files.map(({ thumbnail, ...file }) => {
    if (thumbnail === undefined || thumbnail.bytes.length > left) return file;
    left -= thumbnail.bytes.length;
    return { ...file, thumbnail };
  });
}

const utf8Bytes = (text: string): number => new TextEncoder().encode(text).length;

function sourceOf(bytes: Uint8Array, name: string): FileSource {
  return {
    name,
    size: bytes.length,
    async read(offset, into) {
      const some = bytes.subarray(offset, offset + into.length);
      into.set(some);
      return some.length;
    },
    close: async () => {},
  };
}

/** Whole characters of it, and what shows that it goes on. */
function beginningOf(text: string): string {
  return `${Array.from(text.slice(0, 2 * beginningCharacters))
    .slice(0, beginningCharacters)
    .join("")
    .toWellFormed()}…`;
}

function goneError(attempted: string, name: string, cause?: unknown): ClientError {
  return new ClientError(
    "attachment-gone",
    `${attempted} ${safeFileName(name)}: the server has it no longer`,
    cause === undefined ? {} : { cause },
  );
}
