/** Comparing safety numbers with somebody, and what a comparison, or taking a new identity unseen, sets free. */
import { safetyNumber } from "@sotto/e2ee";
import { toHex } from "@sotto/protocol";
import type { AccountVault } from "./account-vault.ts";
import type { Verification } from "./api.ts";
import type { Contacts } from "./contacts.ts";
import type { Outbox } from "./outbox.ts";
import type { AccountRecord } from "./records.ts";
import type { State } from "./state.ts";

export async function verify(
  parts: { state: State; contacts: Contacts; vault: AccountVault; outbox: Outbox; own: AccountRecord },
  options: { user: string; confirm?: boolean; acceptNew?: boolean },
): Promise<Verification> {
  const { state, contacts, vault, outbox, own } = parts;
  const contact = await contacts.find(options.user);
  const id = toHex(contact.account);
  if (options.confirm || options.acceptNew) {
    await (options.confirm ? contacts.confirm(id) : contacts.acceptIdentity(id));
    vault.soon();
    outbox.resume();
  }
  const mine = contacts.chain(own.account)!;
  const theirs = contacts.chain(contact.account)!;
  const number = safetyNumber(
    { account: own.account, identityKey: mine.identityKey },
    { account: contact.account, identityKey: theirs.identityKey },
  );
  const stop = contacts.stopOf(contact.account);
  return {
    user: `@${contact.name}`,
    safetyNumber: number.digits,
    qr: toHex(number.qr),
    verified: contacts.isVerified(state.contacts.get(id)!),
    ...(stop ? { stopped: stop.text } : {}),
  };
}
