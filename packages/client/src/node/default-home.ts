/** Where an account lives when nobody says otherwise: `$SOTTO_HOME`, else the platform's folder for application data. */
import { homedir } from "node:os";
import * as path from "node:path";

export function defaultHome(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
): string {
  const chosen = environment["SOTTO_HOME"];
  if (chosen) return path.resolve(chosen);
  if (platform === "darwin") return path.join(homedir(), "Library", "Application Support", "sotto");
  if (platform === "win32")
    return path.join(environment["LOCALAPPDATA"] ?? path.join(homedir(), "AppData", "Local"), "sotto");
  return path.join(environment["XDG_DATA_HOME"] ?? path.join(homedir(), ".local", "share"), "sotto");
}
