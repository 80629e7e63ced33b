/**
 * File names that came from another person, made harmless before they become names on a disk: no folders, nothing hidden, nothing
 * that a terminal or a file system takes for more than letters, and none that Windows keeps for itself.
 */

/** Of UTF-8, as most file systems count; with room for a number. */
const nameBytesMax = 240;
const extensionUnitsMax = 20;

/** Names of devices on Windows, with any extension. */
const reserved = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)(?:\.|$)/i;
/** Folders, what shells and Windows treat as special, controls, and what turns the direction of writing or cannot be seen. */
const hostile = /[\\/:*?"<>|\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu;

/** Never empty. */
export function safeFileName(claimed: string): string {
  // What stands before the last separator is a folder of the sender's.
  const own = claimed.slice(Math.max(claimed.lastIndexOf("/"), claimed.lastIndexOf("\\")) + 1);
  const plain = own.toWellFormed().normalize("NFC").replace(hostile, "_").replace(/\s+/g, " ");
  // Leading dots hide, dots and spaces at the end vanish on Windows, a leading dash is an option to most programs.
  const trimmed = plain.replace(/^[\s.-]+/, "").replace(/[\s.]+$/, "");
  const named = trimmed === "" ? "file" : trimmed;
  return shortened(reserved.test(named) ? `_${named}` : named);
}

/** "name.ext", "name (2).ext", "name (3).ext" … */
export function numbered(name: string, number: number): string {
  if (number === 1) return name;
  const { stem, extension } = parted(name);
  return `${stem} (${number})${extension}`;
}

function parted(name: string): { stem: string; extension: string } {
  const dot = name.lastIndexOf(".");
  const isExtension = dot > 0 && name.length - dot <= extensionUnitsMax;
  return isExtension ? { stem: name.slice(0, dot), extension: name.slice(dot) } : { stem: name, extension: "" };
}

function shortened(name: string): string {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  if (bytes(name) <= nameBytesMax) return name;
  const { stem, extension } = parted(name);
  let kept = "";
  for (const character of stem) {
    if (bytes(kept + character + extension) > nameBytesMax) break;
    kept += character;
  }
  return `${kept.trimEnd()}${extension}`;
}
