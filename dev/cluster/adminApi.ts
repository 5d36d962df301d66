// The few questions the launcher itself asks the API server.
import { Agent, request } from 'undici';

/** How to reach an API server as administrator. A ControlPlane is one. */
export interface AdminAccess {
  readonly server: string;
  readonly authorityPem: string;
  readonly adminToken: string;
}

/** An open connection to the API server. */
export interface AdminApi {
  /** The object at `path`, or undefined when there is none. Throws on every other answer. */
  readonly read: (path: string) => Promise<unknown>;
  readonly close: () => Promise<void>;
}

/** Opens a connection; close it when done, or it keeps the process alive. */
export function openAdminApi({ server, authorityPem, adminToken }: AdminAccess): AdminApi {
  const dispatcher = new Agent({ connect: { ca: authorityPem } });
  return {
    async read(path) {
      const { statusCode, body } = await request(`${server}${path}`, {
        dispatcher,
        headers: { authorization: `Bearer ${adminToken}` },
      });
      const text = await body.text();
      if (statusCode === 404) return undefined;
      if (statusCode !== 200) throw new Error(`reading ${path}: ${statusCode} ${text.slice(0, 300)}`);
      return JSON.parse(text) as unknown;
    },
    close: () => dispatcher.close(),
  };
}
