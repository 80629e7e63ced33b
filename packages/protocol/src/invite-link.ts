/**
 * Invite links: what someone needs to create an account on a server they have never seen, in one line that survives being
 * pasted into a chat: `https://HOST:PORT/#FINGERPRINT.TOKEN`, both in hexadecimal, and `.NAME` behind them of whoever invites, if it
 * says. The part after `#` is never sent by a
 * browser, so the token reaches no log on the way. `sotto://` in place of `https://` means the same.
 */
import { fingerprintBytes } from "./fingerprint.ts";
import { fromHex, toHex } from "./ids.ts";
import { namePattern } from "./schema.ts";

/** Length of an invite's token, in bytes. */
export const inviteTokenBytes = 16;
/** The port of a server whose address names none. */
export const defaultPort = 12345;

export interface InviteLink {
  /** A name or an address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the server's TLS public key. */
  readonly fingerprint: Uint8Array;
  readonly token: Uint8Array;
  /** The name of the account whose invite it is. */
  readonly introducer?: string;
}

export type ParsedInviteLink = { kind: "ok"; link: InviteLink } | { kind: "invalid"; reason: string };

export function formatInviteLink(link: InviteLink): string {
  const host = link.host.includes(":") ? `[${link.host}]` : link.host;
  return `https://${host}:${link.port}/#${toHex(link.fingerprint)}.${toHex(link.token)}${link.introducer === undefined ? "" : `.${link.introducer}`}`;
}

/** Tolerant of what chats and mail programs put around a link; the reason of a refusal is for people. */
export function parseInviteLink(text: string): ParsedInviteLink {
  const begun = text.trim().replace(/^[<("'`]+/, "");
  let end = begun.length;
  // From the end: an expression that looks for the last ones would begin anew at each.
  while (end > 0 && ">)\"'`.,;".includes(begun[end - 1]!)) end--;
  const trimmed = begun.slice(0, end);
  const match = /^(?:https|sotto):\/\/(\[[0-9a-f:.]+\]|[^\s/:#?@[\]]+)(?::(\d{1,5}))?\/?#([^#]*)$/i.exec(trimmed);
  if (match === null) {
    return {
      kind: "invalid",
      reason: "an invite link looks like https://HOST:PORT/#FINGERPRINT.TOKEN; was it copied whole?",
    };
  }
  const [, hostText = "", portText, fragment = ""] = match;
  const port = portText === undefined ? defaultPort : Number(portText);
  if (port < 1 || port > 65_535)
    return { kind: "invalid", reason: `the invite link names port ${port}; ports go from 1 to 65535` };
  const [fingerprintText = "", tokenText = "", ...rest] = fragment.replace(/\s/g, "").split(".");
  const fingerprint = fromHex(fingerprintText);
  const token = fromHex(tokenText);
  // Names have dots too.
  const introducer = rest.length === 0 ? undefined : rest.join(".").toLowerCase();
  const isWhole =
    fingerprint?.length === fingerprintBytes &&
    token?.length === inviteTokenBytes &&
    (introducer === undefined || namePattern.test(introducer));
  if (!isWhole) {
    return { kind: "invalid", reason: "the invite link is damaged or cut short; ask for it again and copy it whole" };
  }
  const host = hostText.replace(/^\[|\]$/g, "").toLowerCase();
  return { kind: "ok", link: { host, port, fingerprint, token, ...(introducer === undefined ? {} : { introducer }) } };
}
