/** What a ring knows of a server. */
export interface RingServer {
  /** What is hashed: the same text always stands for the same place. */
  readonly name: string
  /** Its share relative to the others; 1 without. A whole number, save for the rendezvous distributions. */
  readonly weight?: number
  /** Of `redis-cluster`: the slots it serves, as inclusive ranges within 0 to 16383. */
  readonly slots?: readonly (readonly [from: number, to: number])[]
}

const MOST_SERVERS = 65_535
const MOST_WEIGHT = 2 ** 31 - 1

export const weightOf = ({ weight = 1 }: RingServer): number => weight

/** @throws Error that names the server, and says what its value must be */
export function checkServers(servers: readonly RingServer[], fractions: boolean): void {
  if (servers.length === 0 || servers.length > MOST_SERVERS) {
    throw new Error(`${servers.length} servers: a ring has from 1 to ${MOST_SERVERS}`)
  }
  const names = new Set<string>()
  let total = 0
  for (const server of servers) {
    const { name } = server
    if (name === '') throw new Error('a server has an empty name: give each a stable one')
    if (names.has(name)) throw new Error(`server ${name} is named twice: each needs a name of its own`)
    names.add(name)
    const weight = weightOf(server)
    if (!(weight > 0 && weight <= MOST_WEIGHT) || !(fractions || Number.isInteger(weight))) {
      const kind = fractions ? 'number' : 'whole number'
      throw new Error(`server ${name} has the weight ${weight}: must be a positive ${kind} below 2^31`)
    }
    total += weight
  }
  if (total > MOST_WEIGHT) throw new Error(`the weights add up to ${total}: must stay below 2^31`)
}

/** The indexes of servers in the order of twemproxy: shorter names first, equally long ones by their bytes. */
export function twemproxyOrder(servers: readonly RingServer[]): number[] {
  const names = servers.map(({ name }) => Buffer.from(name))
  return [...servers.keys()].sort((left, right) => {
    const [a, b] = [names[left], names[right]]
    if (a === undefined || b === undefined) return 0
    return a.length - b.length || Buffer.compare(a, b)
  })
}
