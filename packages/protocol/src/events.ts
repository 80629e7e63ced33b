/**
 * What the server pushes. An event frame is `[3, sequence, name, payload]`; `sequence` is the place in the log or inbox
 * that the event brings, 0 for events that have none. Receivers ignore events and fields that they do not know.
 */
import * as v from "valibot";
import { limits } from "./limits.ts";
import { bytesUpTo, count, id, structure, text, timeMs, type Whole } from "./schema.ts";

/** `reset`: the group behind the conversation was made anew; its bytes are the GroupInfo of the new one. */
export const entryKinds = ["commit", "message", "reset"] as const;

export const events = {
  /** One entry of a conversation's log, in order, without gaps from the device's cursor on. Acknowledge it. */
  entry: {
    about:
      "One entry of a conversation's log. Entries come in order from the device's cursor on; each is acknowledged.",
    payload: v.object({
      conversation: id,
      kind: v.picklist(entryKinds),
      epoch: count,
      /** Messages are always inline. */
      bytes: v.union([bytesUpTo(limits.envelopeBytesMax), structure.options[1]]),
      acceptedAt: timeMs,
    }),
  },
  /** Something for this device alone. Acknowledge it with the conversation of 16 zero bytes. */
  welcome: {
    about:
      "A Welcome for this device (its inbox, acknowledged as conversation of 16 zero bytes). Entries of the conversation follow from `from` on.",
    payload: v.object({
      conversation: id,
      generation: count,
      suite: count,
      epoch: count,
      from: count,
      bytes: structure,
      keyPackageRef: bytesUpTo(64),
    }),
  },
  share: {
    about:
      "A secret that another device of the account sealed for this one (in its inbox, as `welcome`). `from` is absent if it was made by a login that was no device yet.",
    payload: v.object({ bytes: bytesUpTo(limits.shareBytesMax), from: v.optional(id) }),
  },
  /** Everything up to the heads that `subscribe` reported has been sent. */
  synced: { about: "Everything up to the heads that `subscribe` reported has been sent.", payload: v.object({}) },
  whisper: {
    about: "Something passing that another device of the conversation said: it is in no log and never comes again.",
    payload: v.object({ conversation: id, bytes: bytesUpTo(limits.whisperBytesMax) }),
  },
  presence: {
    about: "Someone who has written in a conversation with the account came or went, and lets it be seen.",
    payload: v.object({ account: id, online: v.boolean(), lastSeenAt: v.optional(timeMs) }),
  },
  accountChanged: {
    about:
      "The chain of an account, one's own or of someone with whom one shares a conversation, has grown up to entry `n`: fetch what is new.",
    payload: v.object({ account: id, n: count }),
  },
  accountVaultChanged: {
    about:
      "Another device of the account, or a change of its root, stored this version of the account vault. It may be told late or not at all: read it when connecting.",
    payload: v.object({ version: count }),
  },
  conversationAdded: {
    about:
      "The account is a member of this conversation from now on, and none of its devices was brought in with it: `subscribe` lists it, and a device may enter by itself. It may be told late or not at all.",
    payload: v.object({ conversation: id }),
  },
  keyPackagesLow: {
    about: "Few key packages are left for this device: publish more.",
    payload: v.object({ suite: count, available: count, lastResortUsed: v.boolean() }),
  },
  sessionEnded: {
    about: "The server ends the session; the reason says whether to come back.",
    payload: v.object({
      reason: v.picklist(["logged-out", "revoked", "replaced", "shutting-down", "too-slow"]),
      message: v.optional(text(200)),
    }),
  },
} as const;

export type EventName = keyof typeof events;
/** What an event brings, its structures whole: whoever receives events from the wire fetches those that came by name. */
export type EventPayload<Name extends EventName> = Whole<v.InferOutput<(typeof events)[Name]["payload"]>>;
/** One event with its name, as a union to switch over. */
export type Event = { [Name in EventName]: { name: Name; sequence: number; payload: EventPayload<Name> } }[EventName];
export type EntryKind = (typeof entryKinds)[number];

/** The conversation id under which a device's inbox is acknowledged. */
export const inboxId: Uint8Array = new Uint8Array(16);
