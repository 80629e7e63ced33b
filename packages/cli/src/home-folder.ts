/**
 * Where an account lives when neither --home nor SOTTO_HOME says, and a server when neither --data nor SOTTO_DATA does: in the
 * platform's folder for the data of programs.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

export function homeFolder(
  given: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform = process.platform,
): string {
  return resolve(given || variables["SOTTO_HOME"] || join(dataFolder(variables, platform), "sotto"));
}

export const serverFolderName = "sotto-server";

export function serverFolder(
  given: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform = process.platform,
): string {
  return resolve(given || variables["SOTTO_DATA"] || join(dataFolder(variables, platform), serverFolderName));
}

function dataFolder(variables: Readonly<Record<string, string | undefined>>, platform: NodeJS.Platform): string {
  const user = variables["HOME"] || homedir();
  if (platform === "win32") return variables["LOCALAPPDATA"] || join(user, "AppData", "Local");
  if (platform === "darwin") return join(user, "Library", "Application Support");
  return variables["XDG_DATA_HOME"] || join(user, ".local", "share");
}
