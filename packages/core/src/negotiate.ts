/**
 * The media type of `offers` that an Accept header prefers (RFC 9110, 12.5.1): the highest `q`, the first offer among
 * equals and where nothing fits. Parameters other than `q` do not count, because scrapers send ones that no offer has
 * (`escaping=allow-utf-8`).
 */
export function preferred<const T extends string>(
  accept: string | undefined,
  offers: readonly [T, ...T[]],
): T {
  if (accept === undefined) return offers[0]
  const ranges = accept.split(',').map(parseRange)
  let best: T = offers[0]
  let bestQuality = 0
  for (const offer of offers) {
    const quality = qualityOf(offer, ranges)
    if (quality > bestQuality) {
      best = offer
      bestQuality = quality
    }
  }
  return best
}

interface Range {
  readonly type: string
  readonly quality: number
}

function parseRange(part: string): Range {
  const [type = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase())
  const q = parameters.find((parameter) => parameter.startsWith('q='))
  const quality = q === undefined ? 1 : Number(q.slice(2))
  return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 }
}

function qualityOf(offer: string, ranges: readonly Range[]): number {
  for (const type of [offer, `${offer.split('/')[0]}/*`, '*/*']) {
    const matching = ranges.filter((range) => range.type === type)
    if (matching.length > 0) return Math.max(...matching.map((range) => range.quality))
  }
  return 0
}
