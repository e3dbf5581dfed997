/* Shared memory between fetcher and main process, as every source fills it. */
#ifndef PS_FETCH_H
#define PS_FETCH_H
#include "wire/mux.h"

#include "api/fetch_api.h"
#include "api/frames_api.h"
#include "api/limits_api.h"

/* A source's place in the shared memory: it fills one slot at a time. */
typedef struct fetch_writer {
    ps_fetch_memory *m;
    u32 slot, used; /* UINT32_MAX: none */
} fetch_writer;

void fetch_writer_init(fetch_writer *w, ps_fetch_memory *m);
void fetch_writer_end(fetch_writer *w); /* gives the slot back once its records are consumed */
void fetch_writer_free(fetch_writer *w); /* and lets the memory go, which it has kept alive */
/* Puts as much of the data into shared memory as there are free slots for, with records. Returns the bytes taken. */
size_t fetch_write(fetch_writer *w, u32 request, u32 entry, u64 at, const u8 *data, size_t len);
/* Where a source may receive its next bytes, so that what it parses lies in shared memory already: room of at least an eighth of
 * a slot. NULL: no slot is free. */
u8 *fetch_room(fetch_writer *w, size_t *len);
void fetch_placed(fetch_writer *w, size_t len); /* so many were received there */
/* A record of bytes that fetch_room gave the place for. */
void fetch_in_place(fetch_writer *w, u32 request, u32 entry, u64 at, const u8 *data, size_t len);
/* A record that carries no data. */
void fetch_note(ps_fetch_memory *m, u32 kind, u32 request, u32 entry, u32 number);
bool fetch_memory_failed(const ps_fetch_memory *m); /* an allocation failed */

#endif
