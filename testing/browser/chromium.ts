/**
 * The Chromium that comes with `npm ci` (the package @sparticuz/chromium): unpacked once below node_modules, with its own
 * NSS libraries and fonts, so that it starts on a machine that has nothing but Node. It reaches this machine only.
 *
 * The package holds a binary for Linux on x64. Elsewhere set SOTTO_CHROMIUM to the path of a Chrome or Chromium.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { chromium, type Browser } from "playwright-core";

const root = path.join(import.meta.dirname, "../..");
const packageUrl = import.meta.resolve("@sparticuz/chromium");

/** Why no Chromium can be started here, for a test's `skip`; undefined when one can. */
export const chromiumMissing: string | undefined =
  process.env["SOTTO_CHROMIUM"] !== undefined || (process.platform === "linux" && process.arch === "x64")
    ? undefined
    : `no Chromium for ${process.platform} ${process.arch} comes with the dependencies: set SOTTO_CHROMIUM`;

/** Starts a browser with an empty profile; closing it leaves nothing behind. `extraArguments` are Chromium's own switches. */
export async function launchChromium(extraArguments: readonly string[] = []): Promise<Browser> {
  const own = process.env["SOTTO_CHROMIUM"];
  const folder = own === undefined ? await unpackChromium() : undefined;
  return await chromium.launch({
    executablePath: own ?? path.join(folder ?? "", "chromium"),
    // The sandbox needs privileges that containers and root do not have; only the project's own pages are opened.
    chromiumSandbox: false,
    args: ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost", ...extraArguments],
    ...(folder !== undefined && { env: environmentIn(folder) }),
  });
}

function environmentIn(folder: string): Record<string, string> {
  return {
    ...Object.fromEntries(
      Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
    LD_LIBRARY_PATH: path.join(folder, "al2023/lib"),
    FONTCONFIG_PATH: path.join(folder, "fonts"),
  };
}

/** The folder with the unpacked browser: complete, or not there at all, however many processes ask for it at once. */
async function unpackChromium(): Promise<string> {
  const cache = path.join(root, "node_modules/.cache/sotto");
  const manifest = await readFile(new URL("../package.json", packageUrl), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  const folder = path.join(cache, `chromium-${version}`);
  if (existsSync(folder)) return folder;

  await mkdir(cache, { recursive: true });
  const unfinished = await mkdtemp(`${folder}-`);
  // The package unpacks into the temporary folder, and its libraries only on what it takes for Amazon's Linux.
  await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", `await (await import(${JSON.stringify(packageUrl)})).default.executablePath()`],
    { env: { ...process.env, TMPDIR: unfinished, AWS_EXECUTION_ENV: "AWS_Lambda_nodejs24.x" } },
  );
  try {
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}
