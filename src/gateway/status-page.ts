/**
 * The static status page: read once at startup, before the final filter, and served from memory.
 *
 * Promise: its content policy permits its own script and requests to its own server, nothing else.
 * Proof:   test/attacks/1-browser.test.ts
 * @module
 */
import { pageFiles } from './routes.ts';

export type StatusPage = ReadonlyMap<string, { readonly type: string; readonly body: Buffer }>;

/** The content policy of the page: no third party, no inline code, no framing. */
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

/** Reads every file of the page. @param readFile - takes a name below the page's folder */
export function loadPage(readFile: (name: string) => Buffer): StatusPage {
  return new Map(Object.values(pageFiles).map(({ file, type }) => [file, { type, body: readFile(file) }]));
}
