/**
 * What no device of this account has yet, though the settled mark has passed it: gaps whose messages were asked for again and are
 * not answered, or came late and are not archived. Each device keeps its own in the account vault before it moves the mark past
 * them, so that a device that comes meanwhile asks for them as well, instead of taking the mark for all there was.
 */
import { isRecord, toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { Platform } from "./platform.ts";
import type { ConversationRecord, Range } from "./records.ts";
import type { State, Transaction } from "./state.ts";

/** By device, so that no two write the same: conversations in hexadecimal, and the range of each. */
const gapsKind = "gaps/";

type Gaps = Record<string, [from: number, to: number]>;

export interface AccountGapsOptions {
  state: State;
  vault: AccountVault;
  platform: Platform;
}

export class AccountGaps {
  readonly #options: AccountGapsOptions;

  constructor(options: AccountGapsOptions) {
    this.#options = options;
  }

  /** Says in the vault what a conversation lacks here as it stands now: call it whenever that changed. */
  note(transaction: Transaction, conversation: ConversationRecord): void {
    const { state, vault, platform } = this.#options;
    const id = toHex(conversation.conversation);
    const key = gapsKind + toHex(state.account!.device);
    const before = transaction.vaultEntry(key);
    const { [id]: known, ...others } = gapsIn(before?.value);
    const missing = missingIn(conversation);
    if (known?.[0] === missing?.from && known?.[1] === missing?.to) return;
    const gaps: Gaps = missing ? { ...others, [id]: [missing.from, missing.to] } : others;
    // Like the marks of conversations it is not for a person to make room for.
    const at = Math.max(platform.clock.now(), (before?.at ?? 0) + 1);
    vault.putEntry(transaction, key, Object.keys(gaps).length === 0 ? null : gaps, at);
  }

  /** Resolves when the account's next device would learn of what a conversation lacks here. */
  async untilKnown(conversation: ConversationRecord): Promise<void> {
    const { state, vault } = this.#options;
    const key = gapsKind + toHex(state.account!.device);
    if (missingIn(conversation) && !vault.isWritten(key)) await vault.write();
  }
}

/** What the account's devices lacked of a conversation, by the vault's entries; from the first of it to the last. */
export function gapOfAccount(entries: Readonly<Record<string, { value: unknown }>>, id: string): Range | undefined {
  const ranges = Object.entries(entries).flatMap(([key, { value }]) => {
    const range = key.startsWith(gapsKind) ? gapsIn(value)[id] : undefined;
    return range ? [range] : [];
  });
  if (ranges.length === 0) return undefined;
  return { from: Math.min(...ranges.map(([from]) => from)), to: Math.max(...ranges.map(([, to]) => to)) };
}

function gapsIn(value: unknown): Gaps {
  return isRecord(value) ? (value as Gaps) : {};
}

/** Whether some device has not answered yet what was asked for. */
export function isAwaited({ unanswered, siblings = [] }: NonNullable<ConversationRecord["gap"]>): boolean {
  return unanswered.length > 0 || siblings.length > 0;
}

function missingIn({ gap, late, archive }: ConversationRecord): Range | undefined {
  if (!gap) return undefined;
  const isToArchive = (late ?? []).some(({ sequence }) => sequence > (archive?.settled ?? 0));
  return isAwaited(gap) || isToArchive ? { from: gap.from, to: gap.to } : undefined;
}
