-- Clients that nobody is, with what they train. Run after schema.sql, in one transaction, as a driver or psql -1 does:
--
--     set nexus.clients = 200000        how many; 200 000 if not set
--     set nexus.today   = '2026-01-31'  the day after the last one with data; today if not set
--
-- Nothing is random: every value is a hash of its row's number, so the same two settings always make the same rows.

-- Keys and indexes are built once, after the rows, from their own definitions.
create temporary table set_aside on commit drop as
    select 2 as step, format('alter table %s drop constraint %I', conrelid::regclass, conname) as away,
        format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as back
    from pg_constraint
    where contype = 'f' and confrelid in ('clients'::regclass, 'training_programs'::regclass)
    union all
    select 1, format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    from pg_index
    where indrelid in ('clients'::regclass, 'training_programs'::regclass, 'training_sessions'::regclass, 'client_progress'::regclass)
        and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'));
do $$
declare
    command text;
begin
    for command in select away from set_aside order by step desc loop
        execute command;
    end loop;
end $$;

create temporary table settings on commit drop as select
    coalesce(nullif(current_setting('nexus.clients', true), ''), '200000')::int as clients,
    coalesce(nullif(current_setting('nexus.today', true), '')::date, (now() at time zone 'UTC')::date) as today;

-- A number between 0 and 1 for the n-th row, another one for each salt.
create function pg_temp.share(n bigint, salt bigint) returns float8 language sql immutable as
$$ select (hashint8extended(n, salt) & 4503599627370495)::float8 / 4503599627370496 $$;

-- One of the list, the first ones more often.
create function pg_temp.pick(list text[], share float8, skew float8 default 1) returns text language sql immutable as
$$ select list[1 + floor(cardinality(list) * share ^ skew)::int] $$;

create temporary table lists on commit drop as select
    string_to_array(replace(btrim('
        Emma James Maria Michael Anna David Sarah John Laura Daniel Sofia Robert Julia Thomas Elena Paul Lisa Mark Nina Peter
        Olivia Lucas Chloe Adam Isabella Noah Mia Liam Ava Ethan Charlotte William Amelia Benjamin Grace Henry Ella Alexander
        Hannah Samuel Zoe Jack Leah Oliver Clara Leo Alice Max Eva Felix Ruth Simon Helen Martin Claire Andrew Rachel Stephen
        Megan Kevin Amy Brian Nicole Eric Heather Jason Michelle Ryan Rebecca Justin Katherine Brandon Victoria Tyler Natalie
        Aaron Diana Nathan Monica Patrick Vanessa Sean Christina Kyle Andrea Gregory Patricia Raymond Barbara Dennis Susan Jerry
        José Carmen Luis Lucía Carlos Marta Javier Pilar Diego Inés Andrés Rocío Sergio Beatriz Álvaro Ximena Mateo Valentina
        Giulia Marco Chiara Luca Francesca Matteo Alessia Davide Martina Lorenzo Amélie François Camille Antoine Margaux Étienne
        Jürgen Heike Björn Annika Günther Greta Søren Freja Lars Astrid Magnus Ingrid Øyvind Sigrid Pekka Aino Łukasz Agnieszka
        Piotr Zofia Jakub Kasia Ondřej Tereza Miloš Jelena Dmitri Olga Ivan Natalia Yusuf Aylin Mehmet Zeynep Omar Fatima Hassan
        Layla Ahmed Amina Kwame Ama Chidi Ngozi Tendai Thandiwe Raj Priya Arjun Ananya Vikram Deepika Imran Ayesha Wei Mei Jun
        Hiroshi Yuki Kenji Sakura Minh Linh Ji-woo Seo-yeon Min-jun Somchai Malee Putu Dewi Tane Aroha Kai Leilani Siobhán Niamh
        Cian Aoife Rhys Carys Ewan Isla Tomás Clódagh Anne-Marie Jean-Luc Mary-Kate Noël Chloë Renée Zuzana Márton Réka István
    ', E' \n'), E'\n', ' '), ' ') as first_names,
    string_to_array(replace(btrim('
        Smith Garcia Johnson Müller Williams Brown Martin Jones Rossi Miller Davis Nguyen Lopez Wilson Anderson Silva Thomas
        Taylor Moore Jackson Lee Kim Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Walker Young Allen King
        Wright Scott Torres Hill Flores Green Adams Nelson Baker Hall Rivera Campbell Mitchell Carter Roberts Gomez Phillips
        Evans Turner Diaz Parker Cruz Edwards Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan
        Cooper Peterson Bailey Reed Kelly Howard Ramos Cox Ward Richardson Watson Brooks Chavez Wood Bennett Gray Mendoza Ruiz
        Hughes Price Alvarez Castillo Sanders Patel Myers Long Ross Foster Jimenez Powell Jenkins Perry Russell Sullivan Bell
        Coleman Butler Henderson Barnes Gonzales Fisher Vasquez Simmons Jordan Patterson Alexander Hamilton Graham Reynolds
        Griffin Wallace Moreno West Cole Hayes Bryant Herrera Gibson Ellis Tran Medina Aguilar Stevens Murray Ford Castro
        Marshall Owens Harrison Fernandez McDonald Woods Washington Kennedy Wells Vargas Henry Chen Freeman Webb Tucker Burns
        Crawford Olson Simpson Porter Hunter Gordon Mendez Hansen Andersen Johansson Eriksson Larsen Nilsson Schmidt Schneider
        Fischer Weber Wagner Becker Schröder Hoffmann Zimmermann Köhler Bianchi Romano Colombo Ricci Ferrari Esposito Dubois
        Lefèvre Moreau Laurent Girard Bonnet Rousseau Kowalski Nowak Wiśniewski Novák Dvořák Horváth Nagy Szabó Popescu Ionescu
        Ivanov Petrov Sokolov Yılmaz Kaya Demir Haddad Khoury Hussein Rahman Singh Sharma Gupta Kumar Reddy Iyer Banerjee Wang
        Zhang Liu Tanaka Suzuki Yamamoto Nakamura Park Choi Okafor Mensah Dlamini Nkosi Banda Tavares Ferreira Gonçalves Núñez
        Peña Ibáñez Söderberg Østergaard Kjær Bjørnstad Virtanen Korhonen Van-Dijk De-Vries Jansen Bakker Peeters O’Brien
        O’Connor O’Sullivan MacLeod McGregor Fitzgerald Smith-Jones Lee-Hartmann Garcia-Lorca Taylor-Reed D’Angelo St-Pierre
        Abernathy Blackwood Cartwright Delacroix Eastwood Fairbanks Goldstein Hawthorne Ingram Jefferson Kingsley Lancaster
        Montgomery Northcott Oakley Pemberton Quigley Rutherford Sinclair Thornton Underwood Vanderbilt Whitaker Yates Zeller
    ', E' \n'), E'\n', ' '), ' ') as last_names,
    string_to_array('mail.example post.example inbox.example letters.example example.com example.net example.org fastmail.example'
        || ' home.example cloud.example studio.example university.example hospital.example', ' ') as domains,
    array['Prefers mornings.', 'Prefers evenings, never on Wednesdays.', 'Recovering from a knee injury; no jumping.',
        'Training for a first half marathon.', 'Wants weekly check-ins by phone.', 'Referred by a friend.',
        'Travels a lot; hotel-room workouts.', 'Asked about the nutrition plan.', 'Lower back pain, cleared by the doctor.',
        'Wants to get back to the strength of ten years ago.', 'Sleeps badly; keep the intensity low for now.',
        'Shares a slot with a partner.', 'Paying yearly.', 'Asthma; carries an inhaler.', 'Former rower, very fit.',
        'Do not call, write.'] as notes;
-- Blank lines and indents of the lists above are no names.
update lists set first_names = array_remove(first_names, ''), last_names = array_remove(last_names, '');

-- The n-th client came on the day that the curve of growth gives it; more come in the daytime than at night.
create temporary table drafts on commit drop as
with shares as materialized (
    select n, clients, today::timestamp at time zone 'UTC' as today,
        pg_temp.share(n, 1) as u1, pg_temp.share(n, 2) as u2, pg_temp.share(n, 3) as u3,  -- when
        pg_temp.share(n, 4) as u4, pg_temp.share(n, 5) as u5,                             -- phone, notes
        pg_temp.share(n, 6) as u6, pg_temp.share(n, 7) as u7, pg_temp.share(n, 8) as u8   -- metadata, program, status
    from settings, generate_series(1, clients) as n
), names as materialized (
    select first_names || '{}'::text[] as first_names, last_names || '{}'::text[] as last_names, domains, notes from lists
), dated as materialized (
    select shares.*, (730 * (1 - ((n - 0.5) / clients) ^ 0.7))::int + 1 as age_days,
        make_interval(mins => (1439 * case when u1 < 0.85 then 0.3 + 0.62 * u2 else u2 end)::int, secs => 59.999 * u3) as clock
    from shares
)
select n, overlay(overlay(md5('client ' || n) placing '4' from 13) placing pg_temp.pick('{8,9,a,b}', u3) from 17)::uuid as id,
    pg_temp.pick(first_names, pg_temp.share(n, 9), 1.5) as first_name, pg_temp.pick(last_names, pg_temp.share(n, 10), 1.5) as last_name,
    pg_temp.share(n, 14) as habit, pg_temp.pick(domains, pg_temp.share(n, 15), 1.8) as domain,
    case when u5 < 0.3 then pg_temp.pick(notes, u5 / 0.3) else '' end as note,
    u4, u5, u6, u7, u8, today, age_days, today - make_interval(days => age_days) + clock as created_at
from dated, names;

insert into clients (id, name, email, phone, program_type, status, notes, metadata, created_at, updated_at)
select id, first_name || ' ' || last_name,
    -- The second of the same address gets a 2.
    mailbox || coalesce('.' || nullif(row_number() over (partition by mailbox, domain order by n), 1), '') || '@' || domain,
    case when u4 < 0.82 then '+1 ' || 201 + (u5 * 780)::int || ' 555 0' || 100 + (u4 * 1e6)::int % 100 end,
    case when u7 < 0.56 then 'PRIME' when u7 < 0.88 then 'LONGEVITY' else 'HYBRID' end,
    case when age_days <= 21 and u8 < 0.55 then 'trial'
        when u8 < 0.58 then 'active' when u8 < 0.76 then 'inactive' when u8 < 0.85 then 'paused' when u8 < 0.95 then 'cancelled'
        else 'trial' end,
    note,
    case when u6 < 0.5 then '{}'
        else jsonb_build_object('source', pg_temp.pick('{referral,website,instagram,partner,event}', u4, 1.5),
            'goal', pg_temp.pick('{strength,weight,endurance,mobility,sleep,longevity}', u5, 1.3)) end,
    created_at, created_at + (today - created_at) * (case when u8 < 0.58 then u6 ^ 0.4 else u6 end)
from drafts,
    lateral (
        select translate(lower(first_name collate "und-x-icu"), accents, plain) as first,
            translate(lower(last_name collate "und-x-icu"), accents, plain) as last
        from (values ('áéíóúàèìòùâêîôûäëïöüåøæłñçčřšžńśćąęıý’', 'aeiouaeiouaeiouaeiouaoelnccrsznscaeiy')) as letters (accents, plain)
    ) as ascii,
    lateral (
        select case floor(habit * 10)
            when 0 then first || last when 1 then left(first, 1) || '.' || last when 2 then left(first, 1) || last
            when 3 then last || '.' || first when 4 then first || '_' || last else first || '.' || last end as mailbox
    ) as habits
order by n;

-- Four of five clients have a program, one of five of these has had one before.
insert into training_programs (client_id, name, type, duration_weeks, sessions_per_week, start_date, end_date, status,
    completion_percentage, created_at, updated_at)
select id, initcap(kind) || ' ' || weeks || ' weeks', kind, weeks, 2 + floor(u7 * 4)::int, began, began + 7 * weeks, state,
    case state when 'completed' then 100 when 'draft' then 0 else least(99, round((95 * u6)::numeric, 1)) end,
    least(today, began::timestamp at time zone 'UTC'), least(today, (began + floor(7 * weeks * u6)::int)::timestamp at time zone 'UTC')
from (
    select drafts.*, k, pg_temp.pick('{strength,endurance,mobility,longevity,hybrid,recovery}', pg_temp.share(n * 2 + k, 11), 1.3) as kind,
        4 * (1 + floor(pg_temp.share(n * 2 + k, 12) * 6)::int) as weeks,
        (created_at at time zone 'UTC')::date + k * floor(pg_temp.share(n * 2 + k, 13) * 60)::int as began
    from drafts, generate_series(0, 1) as k
    where k = 0 and u5 < 0.8 or k = 1 and u5 < 0.16
) as programs,
    lateral (
        select case when began > (today at time zone 'UTC')::date - 3 then 'draft'
            when began + 7 * weeks < (today at time zone 'UTC')::date and u8 < 0.76 then 'completed'
            when u8 < 0.60 then 'active' when u8 < 0.85 then 'paused' else 'cancelled' end as state
    ) as states
order by n, k;

-- What is past was done, mostly; what is planned is not.
insert into training_sessions (client_id, program_id, scheduled_at, completed_at, duration_minutes, intensity, notes)
select client_id, id, scheduled_at, case when scheduled_at < today and u < 0.83 then scheduled_at + make_interval(mins => minutes) end,
    minutes, case when u < 0.83 then 1 + floor(10 * u / 0.83)::int end, case when u < 0.04 then 'Cut short.' else '' end
from (
    select p.id, p.client_id, today::timestamp at time zone 'UTC' as today, pg_temp.share(p.id * 16 + k, 21) as u,
        15 * (2 + floor(pg_temp.share(p.id * 16 + k, 22) * 4)::int) as minutes,
        p.start_date::timestamp at time zone 'UTC' + make_interval(days => k * 7 / p.sessions_per_week + k,
            hours => 6 + floor(15 * pg_temp.share(p.id * 16 + k, 23))::int) as scheduled_at
    from settings, training_programs p, generate_series(0, 3 + (p.id % 5)::int) as k
) as sessions;

insert into client_progress (client_id, program_id, recorded_date, progress_type, value, unit, data, created_at)
select client_id, id, recorded_date, kind, round((lowest + span * u)::numeric, 1), measure,
    case when kind = 'measurements' then jsonb_build_object('site', pg_temp.pick('{waist,chest,hip,thigh,arm}', u)) else '{}' end,
    recorded_date::timestamp at time zone 'UTC'
from (
    select p.id, p.client_id, p.start_date + 14 * k as recorded_date, pg_temp.share(p.id * 8 + k, 31) as u,
        pg_temp.pick('{weight,strength,body_fat,endurance,measurements,muscle_mass,wellness,flexibility,custom}',
            pg_temp.share(p.id * 8 + k, 32), 1.6) as kind
    from settings, training_programs p, generate_series(0, 1 + (p.id % 2)::int) as k
    where p.start_date + 14 * k < today
) as readings
    join (values ('weight', 50, 60, 'kg'), ('strength', 20, 160, 'kg'), ('body_fat', 8, 30, '%'), ('endurance', 5, 60, 'min'),
        ('measurements', 60, 60, 'cm'), ('muscle_mass', 20, 30, 'kg'), ('wellness', 1, 9, 'points'), ('flexibility', 0, 40, 'cm'),
        ('custom', 0, 10, 'points')) as kinds (kind, lowest, span, measure) using (kind)
order by id, recorded_date;

do $$
declare
    command text;
begin
    for command in select back from set_aside order by step loop
        execute command;
    end loop;
end $$;
analyze clients, training_programs, training_sessions, client_progress;
