/**
 * The first contact with a server: which key it shows, and whether that is the one on the operator's screen. A person on a terminal
 * is asked; a fingerprint given beforehand (--fingerprint, an invite link) settles it; a script pins what it meets and
 * says so. The client checks the key again on its own connection: what is learned here is only what it then insists on.
 */
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import type { Context } from "./context.ts";
import { CommandError } from "./errors.ts";
import { printable } from "./printable.ts";
import { askYesNo, canAsk } from "./questions.ts";

export interface ServerChoice {
  /** HOST or HOST:PORT. */
  server: string;
  invite?: string;
  fingerprint?: string;
}

/** From --server and --fingerprint, or from an invite link. */
export async function chooseServer(options: {
  server?: string;
  invite?: string;
  fingerprint?: string;
}): Promise<ServerChoice> {
  const { server, invite, fingerprint } = options;
  if (invite !== undefined) {
    if (server !== undefined) {
      throw new CommandError("usage", "usage", "--server and --invite do not go together; the link names the server");
    }
    const { formatFingerprint, parseInviteLink } = await import("@sotto/protocol");
    const parsed = parseInviteLink(invite);
    if (parsed.kind === "invalid") {
      throw new CommandError("usage", "invite-malformed", parsed.reason, {
        hint: "quote the link, so that the shell leaves its # alone",
      });
    }
    const { host, port } = parsed.link;
    return {
      server: `${host.includes(":") ? `[${host}]` : host}:${port}`,
      invite,
      fingerprint: fingerprint ?? formatFingerprint(parsed.link.fingerprint),
    };
  }
  if (server === undefined) {
    throw new CommandError("usage", "usage", "which server? give --server HOST[:PORT], or --invite LINK", {
      hint: "both are on the server's first screen; `sotto serve` starts one",
    });
  }
  return fingerprint === undefined ? { server } : { server, fingerprint };
}

/**
 * The choice with a fingerprint that the person confirmed, where there is one to ask and something to confirm.
 * @throws CommandError `fingerprint-refused` if it is not what the server's screen shows
 */
export async function confirmServer(context: Context, choice: ServerChoice): Promise<ServerChoice> {
  const { environment } = context;
  if (choice.fingerprint !== undefined || !canAsk(environment)) return choice;
  const shown = await readServerKey(choice.server);
  // A name that a public authority vouches for needs no comparing. What cannot be reached, the client reports better.
  if (shown === undefined || shown.publicRoot) return choice;
  environment.stderr.write(`The server at ${printable(choice.server)} shows this key:\n\n    ${shown.fingerprint}\n\n`);
  if (await askYesNo(environment, "Is this the fingerprint on the server's screen?")) {
    return { ...choice, fingerprint: shown.fingerprint };
  }
  throw new CommandError(
    "security",
    "fingerprint-refused",
    `trusting the server at ${choice.server}: its fingerprint was not confirmed; nothing was sent`,
    {
      hint: "ask the operator for the fingerprint, or for an invite link, which carries it",
    },
  );
}

/** Says which key was pinned. */
export function notePinned(context: Context, fingerprint: string): void {
  context.output.note(`pinned server key ${fingerprint}`);
}

const connectTimeoutMs = 5_000;

async function readServerKey(server: string): Promise<{ fingerprint: string; publicRoot: boolean } | undefined> {
  const { defaultPort, formatFingerprint } = await import("@sotto/protocol");
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(server);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (host === undefined || port < 1 || port > 65_535) return undefined;
  const socket = await openTls(host, port);
  if (socket === undefined) return undefined;
  try {
    const key = socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "der" });
    if (key === undefined) return undefined;
    return { fingerprint: formatFingerprint(createHash("sha256").update(key).digest()), publicRoot: socket.authorized };
  } finally {
    socket.destroy();
  }
}

function openTls(host: string, port: number): Promise<TLSSocket | undefined> {
  return new Promise((resolve) => {
    // The certificate is not judged here: its key is shown to a person, and then pinned.
    const servername = isIP(host) ? {} : { servername: host };
    const socket = connect({
      host,
      port,
      ...servername,
      minVersion: "TLSv1.3",
      rejectUnauthorized: false,
      timeout: connectTimeoutMs,
    });
    const fail = () => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", fail);
    socket.once("timeout", fail);
  });
}
