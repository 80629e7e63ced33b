/** Certificates of a benchmark, and the client's side of TLS: 1.3, verified, never resumed. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, createSecureContext, type SecureContext } from "node:tls";

export const hostAddress = "127.0.0.1";
export const hostName = "localhost";

/** An authority and a server certificate (ECDSA P-256), made once per folder. */
export function certificates(folder: string): { cert: string; key: string; ca: string } {
  const tls = join(folder, "tls");
  if (!existsSync(join(tls, "server.crt"))) {
    mkdirSync(tls, { recursive: true });
    execFileSync(
      "sh",
      [
        "-ec",
        `openssl ecparam -name prime256v1 -genkey -noout -out ca.key
         openssl req -x509 -new -key ca.key -subj /CN=bench-ca -days 3650 -out ca.crt
         openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out server.key
         openssl req -new -key server.key -subj /CN=localhost -out server.csr
         printf 'subjectAltName=DNS:localhost,DNS:conference.localhost,IP:127.0.0.1\\n' > ext
         openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile ext -out server.crt`,
      ],
      { cwd: tls, stdio: ["ignore", "ignore", "ignore"] },
    );
  }
  return { cert: join(tls, "server.crt"), key: join(tls, "server.key"), ca: join(tls, "ca.crt") };
}

const contexts = new Map<string, SecureContext>();

/** The verifying context for an authority's file, made once. */
export function clientContext(caFile: string): SecureContext {
  let context = contexts.get(caFile);
  if (context === undefined) contexts.set(caFile, (context = createSecureContext({ ca: readFileSync(caFile) })));
  return context;
}

/** Waits until a handshake succeeds. */
export async function waitForTls(port: number, caFile: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await canConnect(port, caFile))) {
    if (performance.now() > deadline) throw new Error("the server did not come up; its log is in the run folder");
    await sleep(5);
  }
}

function canConnect(port: number, caFile: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host: hostAddress, port, servername: hostName, secureContext: clientContext(caFile) });
  socket.once("secureConnect", () => resolve(true));
  socket.once("error", () => resolve(false));
  return promise.finally(() => socket.destroy());
}
