/**
 * Fields of a request body by type and range; each refusal names the field and never its value.
 *
 * Proof: test/unit/engine/chat-request.test.ts
 * @module
 */
import { RequestError } from '../types.ts';
import type { JsonNode, JsonTree } from '../bytes/json-tree.ts';
import { jsonKinds } from '../bytes/json-tree.ts';

/** Refusals of one field; `at` is its path, made of names of ours and numbers. */
export const missing = (at: string): RequestError => new RequestError('REQUEST_FIELD_MISSING', `${at} is required`, at);
export const wrongType = (at: string, wanted: string): RequestError =>
  new RequestError('REQUEST_FIELD_TYPE', `${at} must be ${wanted}`, at);
export const outOfRange = (at: string, wanted: string): RequestError =>
  new RequestError('REQUEST_FIELD_RANGE', `${at} must be ${wanted}`, at);
export const unsupported = (at: string): RequestError =>
  new RequestError('REQUEST_FIELD_UNSUPPORTED', `${at} is not supported by this server`, at);

export function flag(tree: JsonTree, node: JsonNode, at: string): boolean {
  const kind = tree.kind(node);
  if (kind === jsonKinds.null || kind === jsonKinds.false) return false;
  if (kind !== jsonKinds.true) throw wrongType(at, 'a boolean');
  return true;
}

export function number(tree: JsonTree, node: JsonNode, at: string, min: number, max: number): number {
  if (tree.kind(node) !== jsonKinds.number) throw wrongType(at, 'a number');
  const value = tree.number(node);
  if (value === undefined || value < min || value > max) throw outOfRange(at, `a number from ${min} to ${max}`);
  return value;
}

export function integer(tree: JsonTree, node: JsonNode, at: string, min: number, max: number): number {
  if (tree.kind(node) !== jsonKinds.number) throw wrongType(at, 'a whole number');
  const value = tree.number(node);
  if (value === undefined || !Number.isInteger(value) || value < min || value > max)
    throw outOfRange(at, `a whole number from ${min} to ${max}`);
  return value;
}

function member(tree: JsonTree, object: JsonNode, name: string): JsonNode | undefined {
  for (const [key, value] of tree.pairs(object)) if (tree.is(key, name)) return value;
  return undefined;
}

/** The field of an object, or `undefined` when it is missing or null. */
export function given(tree: JsonTree, object: JsonNode, name: string): JsonNode | undefined {
  const node = member(tree, object, name);
  return node === undefined || tree.isNull(node) ? undefined : node;
}
