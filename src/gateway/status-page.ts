/**
 * The static status page. It is read once at startup, before the final filter is installed, and served from memory.
 *
 * Promise: its content security policy permits only its own script and requests to its own server.
 * Proof:   test/attacks/1-browser.test.ts
 * @module
 */
import { pageFiles } from './routes.ts';

export type StatusPage = ReadonlyMap<string, { readonly type: string; readonly body: Buffer }>;

/** The page's content security policy: no third parties, no inline code, no framing. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** Reads every file of the page. @param readFile - reads a file by its name within the page's folder */
export function loadPage(readFile: (name: string) => Buffer): StatusPage {
  return new Map(Object.values(pageFiles).map(({ file, type }) => [file, { type, body: readFile(file) }]));
}
