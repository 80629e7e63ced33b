/**
 * OPAQUE (RFC 9807) as the client runs it: @serenity-kit/opaque, ristretto255 with 3DH and SHA-512, Argon2id before the
 * envelope. Blocks for about a third of a second at the default strength; node.ts and browser.ts put it into a worker.
 * The module weighs half a megabyte of WebAssembly: import it only to register or to log in.
 */
import { client, ready } from "@serenity-kit/opaque";
import { ClientError } from "./errors.ts";
import type { FinishOptions, PasswordProtocol } from "./platform.ts";
import { stretchings } from "./stretching.ts";

function keyStretching(stretching: number) {
  const row = stretchings[stretching as keyof typeof stretchings];
  if (row === undefined)
    throw new ClientError(
      "unsupported-version",
      "log in: the account's password is stretched in a way that this version does not know",
    );
  return { "argon2id-custom": row };
}

/** What registration and login must agree on, or the password opens nothing. */
function boundTo({ password, client, server, stretching }: FinishOptions) {
  return { password, identifiers: { client, server }, keyStretching: keyStretching(stretching) };
}

const toText = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
const toBytes = (text: string) => Uint8Array.fromBase64(text, { alphabet: "base64url" });

/** The library throws for bytes that are no answer at all; for an answer to another password it gives nothing. */
function answeredBy<T>(finish: () => T): T {
  try {
    return finish();
  } catch (error) {
    throw new ClientError("not-a-sotto-server", "the server's answer to the password does not follow the protocol", {
      cause: error,
    });
  }
}

export const passwordProtocol: PasswordProtocol = {
  async startRegistration(password) {
    await ready;
    const started = client.startRegistration({ password });
    return { state: toBytes(started.clientRegistrationState), request: toBytes(started.registrationRequest) };
  },

  async finishRegistration(options: FinishOptions) {
    await ready;
    const bound = boundTo(options);
    const finished = answeredBy(() =>
      client.finishRegistration({
        ...bound,
        clientRegistrationState: toText(options.state),
        registrationResponse: toText(options.response),
      }),
    );
    return { record: toBytes(finished.registrationRecord), exportKey: toBytes(finished.exportKey) };
  },

  async startLogin(password) {
    await ready;
    const started = client.startLogin({ password });
    return { state: toBytes(started.clientLoginState), request: toBytes(started.startLoginRequest) };
  },

  async finishLogin(options: FinishOptions) {
    await ready;
    const bound = boundTo(options);
    const finished = answeredBy(() =>
      client.finishLogin({
        ...bound,
        clientLoginState: toText(options.state),
        loginResponse: toText(options.response),
      }),
    );
    return finished && { finish: toBytes(finished.finishLoginRequest), exportKey: toBytes(finished.exportKey) };
  },
};
