/**
 * The static status page: read once at the start, before the seal, and served from memory.
 *
 * Promise: its policy lets it run its own script and ask its own server, nothing else.
 * @module
 */
import { pageFiles } from './routes.ts';

export type PageFile = { readonly type: string; readonly body: Buffer };
export type Page = ReadonlyMap<string, PageFile>;

/** The content policy of the page: no third party, no inline code, no frame around it. */
export const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/** Reads every file of the page by the given power. */
export function loadPage(read: (file: string) => Buffer): Page {
  return new Map(Object.values(pageFiles).map(({ file, type }) => [file, { type, body: read(file) }]));
}
