/**
 * Makes a P-256 key and a certificate signed by itself, for development: no client trusts it unless told to.
 * It is for `localhost` and for `names` (DNS names, `*.` allowed, and IP addresses), and valid from an hour ago for
 * `days` (365). Throws when a name is neither, or `days` is no positive number.
 */
export declare function selfSigned(options: { names: readonly string[]; days?: number }): {
  cert: string
  key: string
}
