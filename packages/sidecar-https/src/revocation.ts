import { DerReader, type Element, readOid, readOne, readTime } from './der-read.ts'
import { nameText, readName } from './distinguished-name.ts'

export interface Crl {
  /** As `nameText` writes it: one line of printable ASCII. */
  issuer: string
  thisUpdate: Date
  /** Undefined when the list says nothing of a next one: then OpenSSL takes it as valid for ever. */
  nextUpdate: Date | undefined
  /** How many certificates it revokes. */
  revoked: number
  der: Buffer
  /** This list alone, the only form in which `tls.createSecureContext` reads it right. */
  pem: string
}

/** Enough for half a million certificates. */
const LARGEST_BUNDLE = 32 * 1024 * 1024

const BEGIN = '-----BEGIN X509 CRL-----'
const BLOCK = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----/g
const DELTA_CRL_INDICATOR = '2.5.29.27'

/**
 * Reads certificate revocation lists (RFC 5280 5), PEM or DER, one or many after another. Throws an Error that says
 * what is wrong with which. It inspects; the check is OpenSSL's, in `tls.createSecureContext({ ca, crl })`, of which
 * the tests establish:
 *
 * - `crl` takes PEM only and reads only the first list of each entry, silently: give `crls.map(({ pem }) => pem)`.
 *   An empty array turns the check off.
 * - With any list, every certificate of a chain is checked, intermediate authorities too. An authority whose list is
 *   missing refuses all that it issued: `UNABLE_TO_GET_CRL`. A root alone needs one list, its own; an intermediate
 *   authority needs its own besides that of the root.
 * - A list after its `nextUpdate` refuses all that its authority issued, revoked or not: `CRL_HAS_EXPIRED`; one before
 *   its `thisUpdate` likewise: `CRL_NOT_YET_VALID`.
 * - Of two valid lists of one authority only that with the later `thisUpdate` counts; they are not added up. A valid
 *   one is preferred to an expired one.
 * - A revoked client is refused with `CERT_REVOKED`, and so is each client of a revoked intermediate authority.
 * - The list of another authority of the same name is as good as none: `UNABLE_TO_GET_CRL`.
 * - A resumed session is not checked at all, and `authorized` stays true: a client revoked meanwhile gets in by its
 *   ticket for as long as the keys of the tickets stay the same. With a new list, take new ticket keys.
 */
export function readCrls(pem: Buffer): Crl[] {
  if (pem.length > LARGEST_BUNDLE) {
    throw new Error(`the revocation lists have ${pem.length} bytes: at most ${LARGEST_BUNDLE} are read`)
  }
  const lists = pem[0] === 0x30 && !pem.includes(BEGIN) ? splitDer(pem) : splitPem(pem.toString('latin1'))
  return lists.map((der, index) => {
    try {
      return readCrl(der)
    } catch (error) {
      const problem = error instanceof Error ? error.message : 'unreadable'
      throw new Error(`revocation list ${index + 1} of ${lists.length} is malformed: ${problem}`)
    }
  })
}

function splitPem(text: string): Buffer[] {
  if (text.trim() === '') throw new Error('the revocation list is empty: a PEM or DER file is needed')
  const blocks = [...text.matchAll(BLOCK)].map(([, base64 = '']) => Buffer.from(base64, 'base64'))
  // A bundle cut short by a half-written file would otherwise forget whom its end revokes.
  if (blocks.length !== text.split(BEGIN).length - 1) {
    throw new Error(
      'the revocation list is cut off: an "-----END X509 CRL-----" is missing or the PEM is garbled',
    )
  }
  if (blocks.length === 0) {
    throw new Error(
      `the revocation list is neither PEM nor DER: no "${BEGIN}" in it; openssl crl converts it`,
    )
  }
  return blocks
}

function splitDer(bytes: Buffer): Buffer[] {
  const reader = new DerReader(bytes)
  const lists: Buffer[] = []
  try {
    while (!reader.done) lists.push(reader.take(0x30, 'it').der)
  } catch (error) {
    const problem = error instanceof Error ? error.message : 'unreadable'
    throw new Error(`revocation list ${lists.length + 1} is malformed: ${problem}`)
  }
  return lists
}

function readCrl(der: Buffer): Crl {
  const list = new DerReader(readOne(der, 0x30, 'the list').content)
  const body = new DerReader(list.take(0x30, 'its body').content)
  list.take(0x30, 'the signature algorithm')
  list.take(0x03, 'the signature')
  list.end('the signature')
  body.optional(0x02, 'the version')
  body.take(0x30, 'the algorithm of the signature')
  const issuer = nameText(readName(body.take(0x30, 'the issuer'), 'the issuer'))
  const thisUpdate = readTime(body.next('thisUpdate'), 'thisUpdate')
  const dated = body.tag === 0x17 || body.tag === 0x18
  const nextUpdate = dated ? readTime(body.next('nextUpdate'), 'nextUpdate') : undefined
  const revoked = countRevoked(body.optional(0x30, 'the revoked certificates'))
  refuseDelta(body.optional(0xa0, 'the extensions'))
  body.end('the extensions')
  return { issuer, thisUpdate, nextUpdate, revoked, der, pem: pemOf(der) }
}

function countRevoked(entries: Element | undefined): number {
  const reader = new DerReader(entries?.content ?? Buffer.alloc(0))
  let count = 0
  for (; !reader.done; count += 1) {
    const entry = new DerReader(reader.take(0x30, 'a revoked certificate').content)
    entry.take(0x02, 'a revoked serial number')
    entry.next('a revocation date')
    entry.optional(0x30, 'the extensions of a revoked certificate')
    entry.end('a revoked certificate')
  }
  return count
}

// It holds only what changed since another list: alone it would let in all that were revoked before.
function refuseDelta(extensions: Element | undefined): void {
  if (extensions === undefined) return
  const list = new DerReader(readOne(extensions.content, 0x30, 'the list of extensions').content)
  while (!list.done) {
    const extension = new DerReader(list.take(0x30, 'an extension').content)
    const type = readOid(extension.take(0x06, 'the type of an extension').content)
    if (type === DELTA_CRL_INDICATOR) throw new Error('it is a delta list: give the complete one')
  }
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `${BEGIN}\n${lines.join('\n')}\n-----END X509 CRL-----\n`
}
