module github.com/smiller333/dockerutilities/app

go 1.27
