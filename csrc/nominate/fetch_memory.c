#include "nominate/fetch.h"

#include <stdlib.h>

#define NO_SLOT UINT32_MAX

typedef struct slot {
    u32 records; /* handed out or to be handed out, not consumed */
    bool filling;
} slot;

struct ps_fetch_memory {
    u8 *base;
    u32 slot_size, count, free_count;
    u32 holders; /* the owner and the writers: a collector frees them in any order */
    slot *slots;
    ps_buf records;
    ps_buf handed; /* slot of each record handed over and not consumed: u32 */
};

ps_fetch_memory *ps_fetch_memory_new(uint8_t *base, uint32_t slot_size, uint32_t slots) {
    ps_fetch_memory *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    *m = (ps_fetch_memory){.holders = 1, .base = base, .slot_size = slot_size, .count = slots, .free_count = slots, .slots = calloc(slots, sizeof(slot))};
    if (m->slots) return m;
    free(m);
    return NULL;
}

void ps_fetch_memory_free(ps_fetch_memory *m) {
    if (!m || --m->holders) return;
    free(m->slots);
    buf_free(&m->records);
    buf_free(&m->handed);
    free(m);
}

uint32_t ps_fetch_memory_free_slots(const ps_fetch_memory *m) { return m->free_count; }
bool fetch_memory_failed(const ps_fetch_memory *m) { return m->records.failed || m->handed.failed; }

const uint8_t *ps_fetch_memory_records(const ps_fetch_memory *m, uint32_t *count) {
    *count = (u32)(buf_used(&m->records) / PS_RECORD_BYTES);
    return *count ? buf_head(&m->records) : NULL;
}

void ps_fetch_memory_taken(ps_fetch_memory *m) { buf_clear(&m->records); }

static void maybe_free(ps_fetch_memory *m, u32 at) {
    if (!m->slots[at].filling && !m->slots[at].records) m->free_count++;
}

int ps_fetch_memory_consumed(ps_fetch_memory *m, uint32_t records) {
    for (u32 i = 0; i < records; i++) {
        if (buf_used(&m->handed) < 4) return PS_FAIL;
        ps_reader r = rd_make(buf_head(&m->handed), 4);
        u32 at = rd_u32(&r);
        buf_consume(&m->handed, 4);
        if (at == NO_SLOT) continue;
        m->slots[at].records--;
        maybe_free(m, at);
    }
    return PS_OK;
}

void fetch_writer_init(fetch_writer *w, ps_fetch_memory *m) {
    *w = (fetch_writer){m, NO_SLOT, 0};
    m->holders++;
}

void fetch_writer_free(fetch_writer *w) {
    fetch_writer_end(w);
    ps_fetch_memory_free(w->m);
}

void fetch_writer_end(fetch_writer *w) {
    if (w->slot == NO_SLOT) return;
    w->m->slots[w->slot].filling = false;
    maybe_free(w->m, w->slot);
    w->slot = NO_SLOT;
}

static bool take_slot(fetch_writer *w) {
    ps_fetch_memory *m = w->m;
    if (!m->free_count) return false;
    for (u32 i = 0; i < m->count; i++) {
        if (m->slots[i].filling || m->slots[i].records) continue;
        m->slots[i].filling = true;
        m->free_count--;
        w->slot = i;
        w->used = 0;
        return true;
    }
    return false;
}

static void put_record(ps_fetch_memory *m, u32 at, u32 offset, u32 length, u32 request, u32 entry, u32 kind, u64 file_offset) {
    ps_buf *b = &m->records;
    buf_u32(b, at);
    buf_u32(b, offset);
    buf_u32(b, length);
    buf_u32(b, request);
    buf_u32(b, entry);
    buf_u32(b, kind);
    buf_u64(b, file_offset);
    buf_u32(&m->handed, kind == PS_RECORD_DATA ? at : NO_SLOT);
}

void fetch_note(ps_fetch_memory *m, u32 kind, u32 request, u32 entry, u32 number) {
    put_record(m, 0, 0, number, request, entry, kind, 0);
}

u8 *fetch_room(fetch_writer *w, size_t *len) {
    ps_fetch_memory *m = w->m;
    if (w->slot != NO_SLOT && m->slot_size - w->used < m->slot_size / 8) fetch_writer_end(w);
    if (w->slot == NO_SLOT && !take_slot(w)) return NULL;
    *len = m->slot_size - w->used;
    return m->base + (size_t)w->slot * m->slot_size + w->used;
}

void fetch_placed(fetch_writer *w, size_t len) { w->used += (u32)len; }

void fetch_in_place(fetch_writer *w, u32 request, u32 entry, u64 at, const u8 *data, size_t len) {
    ps_fetch_memory *m = w->m;
    size_t start = (size_t)w->slot * m->slot_size;
    put_record(m, w->slot, (u32)((size_t)(data - m->base) - start), (u32)len, request, entry, PS_RECORD_DATA, at);
    m->slots[w->slot].records++;
}

size_t fetch_write(fetch_writer *w, u32 request, u32 entry, u64 at, const u8 *data, size_t len) {
    ps_fetch_memory *m = w->m;
    size_t done = 0;
    while (done < len) {
        if (w->slot != NO_SLOT && w->used == m->slot_size) fetch_writer_end(w);
        if (w->slot == NO_SLOT && !take_slot(w)) break;
        size_t n = m->slot_size - w->used;
        if (n > len - done) n = len - done;
        memcpy(m->base + (size_t)w->slot * m->slot_size + w->used, data + done, n);
        put_record(m, w->slot, w->used, (u32)n, request, entry, PS_RECORD_DATA, at + done);
        m->slots[w->slot].records++;
        w->used += (u32)n;
        done += n;
    }
    return done;
}
