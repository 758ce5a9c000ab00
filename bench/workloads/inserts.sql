-- A table in memory: rows by a query and by statements, an index, queries.
create table item(id integer primary key, name text, weight real, class int);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 120000)
insert into item
    select i, printf('item %d of %x', i, i * 7919 % 65521), i * 0.37, i % 97
    from n;
commit;
create index item_name on item(name);
create index item_class on item(class, weight);
select class, count(*), sum(weight), min(name), max(name) from item
    group by class order by class limit 10;
select count(*) from item a join item b on b.id = a.id * 7919 % 120000
    where a.class < 20 and b.class > 50;
update item set weight = weight * 2 where class = 13;
delete from item where class between 30 and 40;
select count(*), sum(weight), max(length(name)) from item;
