module quorate.example/go

go 1.19
