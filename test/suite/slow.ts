/**
 * The files that take longest, the longest first: the suite starts with them, so that none runs alone at the end.
 * @module
 */
export const slowFirst: readonly string[] = [];
