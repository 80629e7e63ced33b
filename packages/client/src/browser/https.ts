/** HTTPS by the platform's `fetch`. The browser checks the certificate itself and shows no key, as with the socket (transport.ts). */
import { type Https, TransportError } from "../platform.ts";

export const browserHttps: Https = {
  streams: false,
  connect(address, judge) {
    const host = address.host.includes(":") ? `[${address.host}]` : address.host;
    const closing = new AbortController();
    return {
      async request({ method, path, headers, body, signal }) {
        judge({ tlsKey: undefined, publicRoot: true });
        let response: Response;
        try {
          response = await fetch(`https://${host}:${address.port}${path}`, {
            method,
            headers,
            cache: "no-store",
            credentials: "omit",
            redirect: "error",
            referrerPolicy: "no-referrer",
            signal: AbortSignal.any(signal === undefined ? [closing.signal] : [closing.signal, signal]),
            ...(body instanceof Uint8Array ? { body: new Uint8Array(body) } : {}),
          });
        } catch (cause) {
          throw new TransportError("unreachable", "the browser could not connect", cause);
        }
        return {
          status: response.status,
          header: (name) => response.headers.get(name) ?? undefined,
          body: bodyOf(response),
        };
      },
      close: () => closing.abort(),
    };
  },
};

async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (cause) {
    throw new TransportError("unreachable", "the connection was lost", cause);
  } finally {
    reader.releaseLock();
  }
}
