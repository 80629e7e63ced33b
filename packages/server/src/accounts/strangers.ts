/**
 * How messages of people one never wrote to arrive: at once, or as requests of which the server takes no more than a few. Unless the operator
 * says how, they are requests where anybody may register, but not for this machine itself.
 */
import type { Config } from "../config.ts";
import type { Connection } from "../gateway/connection.ts";

export function strangersFor(
  { strangers, registration }: Pick<Config, "strangers" | "registration">,
  { isLocal }: Pick<Connection, "isLocal">,
): "allow" | "request" {
  return strangers ?? (registration === "open" && !isLocal ? "request" : "allow");
}
