/** Shows or hides one's presence. */
import type { MethodFile } from "./method.ts";

export const setPresence: MethodFile<"setPresence"> =
  ({ presence }) =>
  async ({ visible }, { account }) => {
    await presence.setVisible(account, visible);
    return {};
  };
