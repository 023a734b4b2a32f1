#!/bin/sh
# Makes the secrets of docker-compose.yml in ./secrets, each of its own chance. What is there already stays.
set -eu
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"   # nobody else on this machine gets in; inside the containers any user may read the files

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() {
  [ -e "$folder/$1" ] && return
  cat > "$folder/.part"
  chmod 444 "$folder/.part"
  mv "$folder/.part" "$folder/$1"
}

random | keep postgres_password
random | keep redis_password
random | keep trail_key
printf 'postgresql://ecgnode:%s@postgres:5432/ecgnode' "$(cat "$folder/postgres_password")" | keep database_url
printf 'redis://:%s@redis:6379/0' "$(cat "$folder/redis_password")" | keep broker_url
printf '{"RegisteredUsers": {"dev": "%s"}}\n' "$(random)" | keep orthanc_users.json
if [ ! -e "$folder/console_key" ]; then
  # For a first start: browsers warn of it; put your site's own certificate and key in its place
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 -subj "/CN=${2:-localhost}" \
    -addext "subjectAltName=DNS:${2:-localhost}" -keyout "$folder/key.part" -out "$folder/certificate.part" 2>/dev/null
  chmod 444 "$folder/key.part" "$folder/certificate.part"
  mv "$folder/certificate.part" "$folder/console_certificate"
  mv "$folder/key.part" "$folder/console_key"
fi
echo "secrets are in $folder; back them up apart from the data: without trail_key no backup can be restored"
