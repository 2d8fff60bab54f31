/**
 * The authorities of the system, which node:tls does not look at by itself, with those of NODE_EXTRA_CA_CERTS, as
 * options of a connection; none where the system has none, so that those of Node are trusted.
 */
export async function systemAuthorities(): Promise<{ readonly ca?: string[] }> {
  const { getCACertificates } = await import('node:tls')
  const system = getCACertificates('system')
  return system.length === 0 ? {} : { ca: [...system, ...getCACertificates('extra')] }
}
