/** First half of an OPAQUE login. Names that nobody has are answered like the others. */
import { ProtocolError } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const startLogin: MethodFile<"startLogin"> =
  ({ logins }) =>
  ({ name, request }, { connection }) => {
    if (connection.identity.kind === "device") throw new ProtocolError("not-permitted");
    return logins.start(connection, name, request);
  };
