/** Ends the device's session until its account proves the password again. */
import type { MethodFile } from "./method.ts";

export const logout: MethodFile<"logout"> =
  ({ store }) =>
  async (_, { connection, device }) => {
    await store.setDeviceLoggedOut(device, true);
    connection.endsAfterReply = "logged-out";
    return {};
  };
