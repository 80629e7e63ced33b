/** A file that a page or a program was handed, to read from: the platform's Blob, which is read a part at a time. */
import type { FileSource } from "./platform.ts";

export function blobSource(file: Blob): FileSource {
  return {
    name: "name" in file && typeof file.name === "string" ? file.name : "file",
    size: file.size,
    async read(offset, into) {
      const bytes = new Uint8Array(await file.slice(offset, offset + into.length).arrayBuffer());
      into.set(bytes);
      return bytes.length;
    },
    close: async () => {},
  };
}
