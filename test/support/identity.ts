/**
 * As whom a role runs in tests: as root under an id that no account has, else as who runs the test.
 * @module
 */

/** No account has it. */
export const testUid = 61_234;

/** The part of the jail's input that changes the user; nothing for an ordinary user. */
export function transientIdentity(uid: number): { readonly uid?: number; readonly gid?: number } {
  return uid === 0 ? { uid: testUid, gid: testUid } : {};
}
