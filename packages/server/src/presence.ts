/**
 * Who is online, told to those to whom an account has written, in a conversation of two or of many, once neither is a stranger or
 * blocked, and only while both let themselves be seen: nobody sees a person by merely opening a conversation. A short
 * absence, such as a reconnect, is not told. Nothing is stored but when each device was last seen.
 */
import { type AccountId, directConversationId, encodeEvent, ProtocolError, type Result, toHex } from "@sotto/protocol";
import { peersOf } from "./conversations/peers.ts";
import type { Delivery } from "./delivery.ts";
import { describeError, type Log } from "./log.ts";
import type { Store } from "./store/store.ts";

const absenceToldAfterMs = 3_000;

interface PresenceOptions {
  readonly store: Store;
  readonly delivery: Pick<Delivery, "isOnline" | "pushToAccount">;
  readonly now: () => number;
  readonly log: Log;
}

export interface Presence extends Disposable {
  /** The account's first device came, or its last one went. */
  changed(account: AccountId, online: boolean): void;
  /** @throws ProtocolError `not-found` for accounts without a common conversation, `not-permitted` if either hides, or `about` never wrote there */
  get(asking: AccountId, about: AccountId): Promise<Result<"getPresence">>;
  setVisible(account: AccountId, visible: boolean): Promise<void>;
}

export function createPresence({ store, delivery, now, log }: PresenceOptions): Presence {
  const absences = new Map<string, NodeJS.Timeout>();

  const isVisible = async (account: AccountId): Promise<boolean> =>
    (await store.getAccount(account))?.presenceVisible === true;

  /** Neither blocks the other, and who was asked in their direct conversation has answered. */
  const haveMet = async (one: AccountId, other: AccountId): Promise<boolean> => {
    if ((await store.isBlocked(one, other)) || (await store.isBlocked(other, one))) return false;
    return (await store.getConversation(directConversationId(one, other)))?.asked === undefined;
  };

  const tell = async (account: AccountId, event: Result<"getPresence">): Promise<void> => {
    const frame = encodeEvent(0, "presence", { account, ...event });
    for (const peer of (await peersOf(store, account, { written: true })).values()) {
      if (!delivery.isOnline(peer) || !(await isVisible(peer))) continue;
      if (await haveMet(account, peer)) delivery.pushToAccount(peer, frame);
    }
  };

  const tellIfVisible = async (account: AccountId, online: boolean): Promise<void> => {
    if (!(await isVisible(account)) || delivery.isOnline(account) !== online) return;
    await tell(account, online ? { online } : { online, lastSeenAt: now() });
  };

  const tellLater = (account: AccountId, online: boolean): void => {
    tellIfVisible(account, online).catch((error: unknown) => log.warn("presence not told", describeError(error)));
  };

  return {
    changed(account, online) {
      const key = toHex(account);
      const absence = absences.get(key);
      clearTimeout(absence);
      absences.delete(key);
      if (online) {
        if (absence === undefined) tellLater(account, true);
        return;
      }
      const timer = setTimeout(() => {
        absences.delete(key);
        tellLater(account, false);
      }, absenceToldAfterMs);
      absences.set(key, timer.unref());
    },

    async get(asking, about) {
      // Whether the account exists at all is not to be learned here.
      const isSelf = toHex(asking) === toHex(about);
      const mayKnow = isSelf || ((await peersOf(store, asking)).has(toHex(about)) && (await haveMet(asking, about)));
      if (!mayKnow) throw new ProtocolError("not-found");
      if (!isSelf && !(await peersOf(store, about, { written: true })).has(toHex(asking)))
        throw new ProtocolError("not-permitted");
      if (!(await isVisible(asking)) || !(await isVisible(about))) throw new ProtocolError("not-permitted");
      if (delivery.isOnline(about)) return { online: true };
      const lastSeenAt = Math.max(0, ...(await store.listDevices(about)).map((device) => device.lastSeenAt));
      return lastSeenAt === 0 ? { online: false } : { online: false, lastSeenAt };
    },

    async setVisible(account, visible) {
      await store.setPresenceVisible(account, visible);
      // Who hides now is gone for the others, without saying since when.
      await tell(account, { online: visible && delivery.isOnline(account) });
    },

    [Symbol.dispose]() {
      for (const absence of absences.values()) clearTimeout(absence);
      absences.clear();
    },
  };
}
