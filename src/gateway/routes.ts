/**
 * The server's routes, as a table. A route that is not marked public requires a token.
 *
 * Promise: paths are compared byte by byte, without decoding, normalisation or prefix matching, so each path has only
 *          one spelling.
 * Proof:   test/unit/gateway/routes.test.ts, test/attacks/1-paths.test.ts
 * @module
 */
import { engineRoutes } from '../wire/messages.ts';
import type { EngineRoute } from '../wire/messages.ts';

/** The handler of a route. */
type Target =
  | { readonly kind: 'health' }
  | { readonly kind: 'status' }
  | { readonly kind: 'page'; readonly file: string }
  | { readonly kind: 'engine'; readonly route: EngineRoute };

export type Route = {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** The whole path. `{parameter}` matches one segment. */
  readonly path: string;
  /** Whether the route is served without a token. Such a route reveals nothing and changes nothing. */
  readonly public: boolean;
  /** Whether the route has reserved slots, so that it is served even while the request quota is exhausted. */
  readonly reserved?: true;
  readonly target: Target;
};

/** The files of the status page. They are public because the page shows nothing until it has a token. */
export const pageFiles: Readonly<Record<string, { readonly file: string; readonly type: string }>> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/app.js': { file: 'app.js', type: 'text/javascript; charset=utf-8' },
  '/style.css': { file: 'style.css', type: 'text/css; charset=utf-8' },
  '/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
};

export const routes: readonly Route[] = [
  { method: 'GET', path: '/health', public: true, target: { kind: 'health' } },
  ...Object.entries(pageFiles).map(([path, { file }]): Route => ({
    method: 'GET',
    path,
    public: true,
    target: { kind: 'page', file },
  })),
  { method: 'GET', path: '/kwyre/status', public: false, reserved: true, target: { kind: 'status' } },
  {
    method: 'POST',
    path: '/v1/chat/completions',
    public: false,
    target: { kind: 'engine', route: engineRoutes.chatCompletions },
  },
  {
    method: 'POST',
    path: '/v1/conversations',
    public: false,
    target: { kind: 'engine', route: engineRoutes.conversationCreate },
  },
  {
    method: 'GET',
    path: '/v1/conversations/{parameter}',
    public: false,
    target: { kind: 'engine', route: engineRoutes.conversationGet },
  },
  {
    method: 'DELETE',
    path: '/v1/conversations/{parameter}',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.conversationDelete },
  },
  {
    method: 'GET',
    path: '/v1/conversations/{parameter}/items',
    public: false,
    target: { kind: 'engine', route: engineRoutes.itemsList },
  },
  {
    method: 'POST',
    path: '/v1/conversations/{parameter}/items',
    public: false,
    target: { kind: 'engine', route: engineRoutes.itemsAppend },
  },
  {
    method: 'POST',
    path: '/v1/responses',
    public: false,
    target: { kind: 'engine', route: engineRoutes.responseCreate },
  },
  {
    method: 'GET',
    path: '/v1/responses/{parameter}',
    public: false,
    target: { kind: 'engine', route: engineRoutes.responseGet },
  },
  {
    method: 'DELETE',
    path: '/v1/responses/{parameter}',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.responseDelete },
  },
  {
    method: 'GET',
    path: '/kwyre/sessions',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.sessionsList },
  },
  {
    method: 'DELETE',
    path: '/kwyre/sessions',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.sessionsDelete },
  },
  {
    method: 'GET',
    path: '/kwyre/sessions/{parameter}',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.sessionGet },
  },
  {
    method: 'DELETE',
    path: '/kwyre/sessions/{parameter}',
    public: false,
    reserved: true,
    target: { kind: 'engine', route: engineRoutes.sessionDelete },
  },
  { method: 'GET', path: '/v1/models', public: false, target: { kind: 'engine', route: engineRoutes.modelsList } },
  {
    method: 'GET',
    path: '/v1/models/{parameter}',
    public: false,
    target: { kind: 'engine', route: engineRoutes.modelGet },
  },
];

/** The result of matching a request. `method` means that the path exists, but for a different method. */
export type Match =
  | { readonly kind: 'route'; readonly route: Route; readonly parameter: string }
  | { readonly kind: 'method' }
  | { readonly kind: 'none' };

export const placeholder = '{parameter}';

/** A path parameter: the unreserved characters of RFC 3986, plus the other characters that model names contain. */
const parameterPattern = /^[A-Za-z0-9._~:@+-]{1,128}$/;

function parameterOf(route: Route, path: string): string | undefined {
  const at = route.path.indexOf(placeholder);
  if (at < 0) return route.path === path ? '' : undefined;
  const prefix = route.path.slice(0, at);
  const suffix = route.path.slice(at + placeholder.length);
  if (!path.startsWith(prefix) || !path.endsWith(suffix) || path.length <= prefix.length + suffix.length)
    return undefined;
  // Clients percent-encode these three characters in model names. Nothing else is decoded.
  const parameter = path
    .slice(prefix.length, path.length - suffix.length)
    .replace(/%(3A|40|2B)/gi, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)));
  return parameterPattern.test(parameter) && parameter !== '.' && parameter !== '..' ? parameter : undefined;
}

/** Finds the route for a request. The query is ignored. HEAD is routed like GET, and `node:http` omits the body. */
export function matchRoute(method: string, target: string): Match {
  const wanted = method === 'HEAD' ? 'GET' : method;
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  let otherMethod = false;
  for (const route of routes) {
    const parameter = parameterOf(route, path);
    if (parameter === undefined) continue;
    if (route.method === wanted) return { kind: 'route', route, parameter };
    otherMethod = true;
  }
  return { kind: otherMethod ? 'method' : 'none' };
}
