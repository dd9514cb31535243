/**
 * Kwyre's version, as in `package.json` (a test compares them).
 * @module
 */
export const version = '0.1.0';
