#include "filelist/inodes.h"

#include <stdlib.h>

static inode_slot *find(const inode_table *t, u64 dev, u64 ino) {
    u64 h = (ino ^ dev << 40 ^ dev >> 24) * 0x9fb21c651e98df25ull;
    u32 at = (u32)(h >> 32) & (t->cap - 1);
    while (t->slots[at].number >= 0 && (t->slots[at].ino != ino || t->slots[at].dev != dev)) at = (at + 1) & (t->cap - 1);
    return &t->slots[at];
}

static bool grow(inode_table *t) {
    u32 old_cap = t->cap, cap = old_cap ? old_cap * 2 : 1024;
    inode_slot *old = t->slots, *fresh = malloc(cap * sizeof *fresh);
    if (!fresh) return false;
    for (u32 i = 0; i < cap; i++) fresh[i].number = -1;
    t->slots = fresh;
    t->cap = cap;
    for (u32 i = 0; i < old_cap; i++) {
        if (old[i].number >= 0) *find(t, old[i].dev, old[i].ino) = old[i];
    }
    free(old);
    return true;
}

i32 inodes_number(inode_table *t, u64 dev, u64 ino, i32 number) {
    if (t->count >= t->cap / 2 && !grow(t)) return -1;
    inode_slot *s = find(t, dev, ino);
    if (s->number < 0) {
        *s = (inode_slot){dev, ino, number};
        t->count++;
    }
    return s->number;
}

void inodes_free(inode_table *t) {
    free(t->slots);
    *t = (inode_table){0};
}
