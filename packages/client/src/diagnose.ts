/** What `doctor` asks: the state of this home, the store, the server and the session; no secrets. */
import { openSession } from "./connection/session.ts";
import type { Contacts } from "./contacts.ts";
import { isOutside } from "./conversations.ts";
import { refusedBy } from "./errors.ts";
import type { Platform } from "./platform.ts";
import { type ConversationRecord, decodeRecord, keys } from "./records.ts";
import { type ServerPin, formatAddress } from "./server-pin.ts";
import type { State } from "./state.ts";

interface Check {
  check: string;
  ok: boolean;
  detail: string;
}

/** @param options.sync connects and catches up, within a few seconds */
export async function diagnose({
  state,
  contacts,
  platform,
  pin,
  shared,
  sync,
}: {
  state: State;
  contacts: Contacts;
  platform: Platform;
  pin: ServerPin | undefined;
  /** How much of its place what the account's devices share takes. */
  shared: { bytes: number; bytesMax: number };
  sync: () => Promise<{ connected: boolean; reason?: string }>;
}): Promise<Check[]> {
  const checks: Check[] = [];
  const own = state.account;
  checks.push({
    check: "store",
    ok: true,
    detail: `${state.conversations.size} conversations, ${state.outbox.size} waiting to be sent`,
  });
  checks.push({
    check: "account",
    ok: own?.status === "active",
    detail: own ? `@${own.name}, ${own.status}` : "none in this folder",
  });
  const ignored = await state.read(keys.ignoredChanges);
  if (ignored) {
    const [count] = decodeRecord<[number]>(ignored);
    const what = `edit${count === 1 ? "" : "s"} or deletion${count === 1 ? "" : "s"} of messages by others than their authors`;
    checks.push({ check: "messages", ok: true, detail: `${count} ${what} ignored` });
  }
  if (!own || !pin) return checks;
  checks.push({
    check: "account data",
    ok: shared.bytes < shared.bytesMax,
    detail: `${shared.bytes / 1024} of ${shared.bytesMax / 1024} KiB of what this account's devices share`,
  });
  try {
    const started = platform.clock.now();
    const session = await openSession(platform, pin, { onEvent: () => {}, onClose: () => {} });
    session.close();
    const roundTripMs = platform.clock.now() - started;
    checks.push({
      check: "server",
      ok: true,
      detail: `${formatAddress(pin)} answers, protocol ${session.hello.version}, in ${roundTripMs} ms`,
    });
    const skewMs = session.hello.timeMs - platform.clock.now();
    checks.push({
      check: "clock",
      ok: Math.abs(skewMs) < 60_000,
      detail: `${Math.round(skewMs / 1000)} s from the server's`,
    });
  } catch (error) {
    checks.push({ check: "server", ok: false, detail: refusedBy("connect", error).message });
    return checks;
  }
  const synced = await sync().catch((error: unknown) => ({
    connected: false,
    reason: refusedBy("connect", error).message,
  }));
  checks.push({
    check: "session",
    ok: synced.connected,
    detail: synced.connected ? "signed in, up to date" : (synced.reason ?? "not signed in"),
  });
  const all = [...state.conversations.values()];
  const names = (those: ConversationRecord[]) => those.map((one) => contacts.titleOf(one)).join(", ");
  const outside = all.filter(isOutside);
  if (outside.length > 0) {
    const detail = `this device lost the thread of ${names(outside)}, and comes back by itself while it is connected`;
    checks.push({ check: "keys", ok: false, detail });
  }
  const refused = all.filter(({ resetRefused }) => resetRefused !== undefined);
  if (refused.length > 0) {
    const detail = `of ${names(refused)} they were made anew for other people; nothing is sent there`;
    checks.push({ check: "new keys", ok: false, detail });
  }
  return checks;
}
