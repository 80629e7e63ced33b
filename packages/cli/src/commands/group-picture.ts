/** A group's picture: `sotto set GROUP picture FILE|off` sets it, `sotto group picture GROUP --to FILE` saves it. Neither looks into it. */
import { readFile, stat } from "node:fs/promises";
import { writePrivateFile } from "../private-file.ts";
import { type Context, withReader } from "../context.ts";
import { CommandError } from "../errors.ts";
import { naming } from "../people.ts";
import { printable } from "../printable.ts";
import { sizeText } from "../transfers.ts";
import { change } from "./group.ts";

/** A picture has to be far smaller: what is larger is not even read. */
const readBytesMax = 1024 * 1024;

export async function setPicture(context: Context, group: string, file: string): Promise<void> {
  const picture = file === "off" ? null : await readPicture(file);
  await change(
    context,
    (client) => naming(group, client.setGroupPicture({ group, picture })),
    ({ title }) => `${printable(title)} has ${picture === null ? "no picture" : "another picture"} now`,
  );
}

export async function savePicture(context: Context, group: string, options: { to: string }): Promise<void> {
  await withReader(context, async (client) => {
    const { type, size, base64 } = await naming(group, client.groupPicture({ group }));
    await writePrivateFile(options.to, { overwrite: false }, async (file) => {
      await file.writeFile(Buffer.from(base64, "base64"));
    });
    await context.output.row({ type, size, path: options.to }, () => [
      `${printable(options.to)}  ${type}, ${sizeText(size)}`,
    ]);
  });
}

/** @throws CommandError `file-unreadable`, `picture-invalid` */
async function readPicture(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > readBytesMax) {
      throw new CommandError("usage", "picture-invalid", `the picture has ${sizeText(size)}; 16 KiB is the most`, {
        hint: "make it smaller first, for example 128 by 128 pixels as JPEG",
      });
    }
    return (await readFile(file)).toString("base64");
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError("usage", "file-unreadable", `reading ${file}: it cannot be read`, {
      hint: "check the path, and whether you may read it; `off` takes the picture away",
      cause: error,
    });
  }
}
