/**
 * The file with koffi's native code. Imports nothing, because verification needs the name before native code may load.
 * @module
 */

/** Returns the path of the foreign-function interface for a platform, relative to the root of the installation. */
export function bindingName(platform: string): string {
  return `node_modules/@koromix/koffi-${platform}/${platform.replace('-', '_')}/koffi.node`;
}
