// The certificates of one cluster: its own authority, what the API server shows to clients, and what it shows to kubelets.
// Our own rather than those the API server would make for itself, because theirs leave out 127.0.0.1 and give kubelets no way
// to know the API server, so that anybody who reaches a kubelet could run commands in pods.
import 'reflect-metadata';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const VALID_DAYS = 365;

/** Files that `writeCertificates` makes in its folder. */
export const CERTIFICATE_FILES = {
  authority: 'ca.crt',
  server: 'apiserver.crt',
  serverKey: 'apiserver.key',
  kubeletClient: 'kubelet-client.crt',
  kubeletClientKey: 'kubelet-client.key',
  /** Signs service account tokens. */
  serviceAccountKey: 'service-account.key',
} as const;

/**
 * Writes a new authority and everything it signs into `dir` (keys readable by the owner only), valid for a year.
 * `serverNames` are the host names and IP addresses by which clients reach the API server. Returns the authority as PEM.
 */
export async function writeCertificates(dir: string, serverNames: readonly string[]): Promise<string> {
  const authority = await issue({ name: 'CN=muster-dev-ca', purpose: 'authority' });
  const server = await issue({ name: 'CN=kube-apiserver', purpose: 'server', serverNames }, authority);
  // system:masters is who the kubelet asks the API server about; it may do anything on a kubelet.
  const kubeletClient = await issue(
    { name: 'CN=kube-apiserver-kubelet-client, O=system:masters', purpose: 'client' },
    authority,
  );
  const serviceAccount = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

  const write = (file: string, content: string) => writeFile(join(dir, file), content, { mode: 0o600 });
  await Promise.all([
    write(CERTIFICATE_FILES.authority, authority.certificate.toString('pem')),
    write(CERTIFICATE_FILES.server, server.certificate.toString('pem')),
    write(CERTIFICATE_FILES.serverKey, await privateKeyPem(server.keys)),
    write(CERTIFICATE_FILES.kubeletClient, kubeletClient.certificate.toString('pem')),
    write(CERTIFICATE_FILES.kubeletClientKey, await privateKeyPem(kubeletClient.keys)),
    // SEC1 and not PKCS #8: the API server reads only the former for service account keys.
    write(CERTIFICATE_FILES.serviceAccountKey, serviceAccount.export({ type: 'sec1', format: 'pem' }) as string),
  ]);
  return authority.certificate.toString('pem');
}

interface Issued {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

interface Request {
  /** The subject, for example `CN=kube-apiserver`. */
  readonly name: string;
  readonly purpose: 'authority' | 'server' | 'client';
  readonly serverNames?: readonly string[];
}

/** Makes a key and a certificate for it, signed by `issuer`, or by itself when there is none. */
async function issue(request: Request, issuer?: Issued): Promise<Issued> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const nowMs = Date.now();
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: request.name,
      issuer: issuer?.certificate.subject ?? request.name,
      // A little in the past: a virtual machine's clock may step back after a resume.
      notBefore: new Date(nowMs - 3_600_000),
      notAfter: new Date(nowMs + VALID_DAYS * 86_400_000),
      publicKey: keys.publicKey,
      signingKey: (issuer?.keys ?? keys).privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: extensionsFor(request),
    },
    webcrypto,
  );
  return { certificate, keys };
}

function extensionsFor({ purpose, serverNames = [] }: Request): x509.Extension[] {
  if (purpose === 'authority') {
    return [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ];
  }
  const usage = purpose === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
  const names: x509.JsonGeneralNames = serverNames.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }));
  return [
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([usage]),
    ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
  ];
}

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n');
}
