/**
 * `sotto doctor`: whether everything that the client needs is in order, one line a check, each failure with what to do. Ends with 0, or
 * with the exit code of the first failure's kind.
 */
import { stat } from "node:fs/promises";
import type { Client, FailureKind } from "@sotto/client";
import { type Context, openClient } from "../context.ts";
import { exitCodes, failureOf } from "../errors.ts";
import { printable } from "../printable.ts";
import { version } from "../version.ts";

interface Check {
  check: string;
  ok: boolean;
  detail: string;
}

/** What each check of the client is about; any other concerns this device. */
const kindsByCheck: Readonly<Record<string, FailureKind>> = {
  account: "usage",
  server: "unreachable",
  session: "refused",
  keys: "refused",
  "new keys": "security",
};

export async function doctor(context: Context): Promise<number> {
  const { output } = context;
  let exitCode = 0;
  const report = async (check: Check, kind: FailureKind) => {
    if (!check.ok && exitCode === 0) exitCode = exitCodes[kind];
    await output.row(check, () => [
      `${check.ok ? output.style("green", "ok    ") : output.style("red", "not ok")}  ${printable(check.check).padEnd(11)}  ${printable(check.detail)}`,
    ]);
  };

  await report({ check: "sotto", ok: true, detail: version }, "unexpected");
  await report(checkNode(), "local");
  const folder = await checkHome(context.home);
  await report(folder, "local");
  if (!folder.ok) return exitCode;
  try {
    await using client = await openClient(context);
    for (const check of await client.diagnose()) {
      const kind = kindsByCheck[check.check] ?? "local";
      await report(check, !check.ok && kind !== "local" ? await kindOfFailure(client, kind) : kind);
    }
  } catch (error) {
    const { kind, message, hint } = failureOf(error);
    await report(
      { check: kind === "local" ? "store" : kind, ok: false, detail: hint ? `${message}; ${hint}` : message },
      kind,
    );
  }
  return exitCode;
}

/** Why the server cannot be used: away, refused, or not the one that was pinned. */
async function kindOfFailure(client: Client, otherwise: FailureKind): Promise<FailureKind> {
  try {
    await client.sync({ timeoutMs: 1_000 });
    return otherwise;
  } catch (error) {
    return failureOf(error).kind;
  }
}

function checkNode(): Check {
  const ok = Number(process.versions.node.split(".")[0]) >= 26;
  return {
    check: "node",
    ok,
    detail: ok ? process.versions.node : `${process.versions.node} is too old; Sotto needs Node 26 or newer`,
  };
}

/** The folder holds keys: nobody but its owner may look into it. */
async function checkHome(home: string): Promise<Check> {
  const check = "home";
  try {
    const { mode, uid } = await stat(home);
    const ownUid = process.getuid?.();
    if (ownUid !== undefined && uid !== ownUid)
      return { check, ok: false, detail: `${home} belongs to another user; choose a folder of your own with --home` };
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      return {
        check,
        ok: false,
        detail: `others on this machine can look into ${home}; close it with: chmod 700 ${home}`,
      };
    }
    return { check, ok: true, detail: home };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return { check, ok: true, detail: `${home} (does not exist yet)` };
    return { check, ok: false, detail: `${home} cannot be read (${String(code)}); choose another folder with --home` };
  }
}
